import type { Vcenter } from '@sendense/contracts'
import type { Command } from 'commander'
import { CliError } from '../cli-error.ts'
import { type CommandContext, show } from '../command-context.ts'
import { everyPage, findByName } from '../find-by-name.ts'
import { formatFields, formatTable } from '../format.ts'
import { findNode } from './nodes.ts'

interface AddOptions {
  node: string
  username: string
  port: string
  name?: string
  thumbprint?: string
  passwordStdin?: boolean
}

/** `vcenter add|list|show|remove`. */
export function addVcenterCommands(program: Command, context: CommandContext): void {
  const vcenter = program.command('vcenter').description('vCenters that the Nodes log in to')
  vcenter
    .command('add <host>')
    .description('add a vCenter; the Node logs in before anything is saved')
    .requiredOption('--node <node>', 'Node that reaches it')
    .requiredOption('--username <name>', 'account')
    .option('--port <number>', 'HTTPS port', '443')
    .option('--name <name>', 'name for people; the host when absent')
    .option('--thumbprint <hex>', 'fingerprint that its certificate must have')
    .option('--password-stdin', 'read the password from standard input')
    .action((host: string, options: AddOptions, command: Command) => add(context, command, host, options))
  vcenter
    .command('list')
    .description('list the vCenters')
    .action(async (_options: unknown, command: Command) => {
      const all = await listVcenters(context)
      show(context, command, all, () =>
        formatTable(
          ['id', 'name', 'host', 'account', 'version'],
          all.map(one => [one.id, one.name, `${one.host}:${one.port}`, one.username, one.version]),
        ),
      )
    })
  vcenter
    .command('show <vcenter>')
    .description('show one vCenter')
    .action(async (wanted: string, _options: unknown, command: Command) => {
      const found = await findVcenter(context, wanted)
      show(context, command, found, () => fields(found))
    })
  vcenter
    .command('remove <vcenter>')
    .description('remove a vCenter that has no VMs in the inventory')
    .action(async (wanted: string) => {
      const { id, name } = await findVcenter(context, wanted)
      await (await context.client()).vcenters.deleteVcenter({ params: { vcenterId: id } })
      context.terminal.remark(`Removed ${name}.`)
    })
}

async function add(
  context: CommandContext,
  command: Command,
  host: string,
  options: AddOptions,
): Promise<void> {
  const port = Number(options.port)
  if (!Number.isInteger(port)) throw new CliError('usage', '--port takes a number.')
  const { id: nodeId } = await findNode(context, options.node)
  const { terminal } = context
  const password = options.passwordStdin
    ? await terminal.readAll()
    : await terminal.askSecret(`Password of ${options.username} at ${host}: `)
  const created = await (await context.client()).vcenters.createVcenter({
    body: {
      name: options.name ?? host,
      nodeId,
      host,
      port,
      username: options.username,
      password,
      ...(options.thumbprint !== undefined && { thumbprint: options.thumbprint }),
    },
  })
  show(context, command, created, () => fields(created))
}

async function listVcenters(context: CommandContext): Promise<Vcenter[]> {
  const client = await context.client()
  return everyPage(page => client.vcenters.listVcenters({ query: page }))
}

/** The vCenter with this id or name. */
export async function findVcenter(context: CommandContext, wanted: string): Promise<Vcenter> {
  return findByName('vCenter', wanted, await listVcenters(context))
}

function fields(one: Vcenter): string {
  return formatFields([
    ['Id', one.id],
    ['Name', one.name],
    ['Host', `${one.host}:${one.port}`],
    ['Account', one.username],
    ['Version', one.version],
    ['Instance', one.instanceUuid],
    ['Thumbprint', one.thumbprint],
  ])
}
