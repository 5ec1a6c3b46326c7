import type { Repository } from '@sendense/contracts'
import type { Command } from 'commander'
import { type CommandContext, show } from '../command-context.ts'
import { everyPage, findByName } from '../find-by-name.ts'
import { formatBytes, formatFields, formatInstant, formatTable } from '../format.ts'

/** `repo add|list|show|storage`. */
export function addRepositoryCommands(program: Command, context: CommandContext): void {
  const repo = program.command('repo').description('repositories that hold restore points')
  repo
    .command('add <name> <path>')
    .description('make a repository in a directory of the Hub, or add an existing one')
    .option(
      '--existing',
      'open the repository that is there; its password is read from standard input or asked for',
    )
    .option('--password-stdin', 'read the password from standard input')
    .action(
      (
        name: string,
        path: string,
        options: { existing?: boolean; passwordStdin?: boolean },
        command: Command,
      ) => add(context, command, { name, path, ...options }),
    )
  repo
    .command('list')
    .description('list the repositories')
    .action(async (_options: unknown, command: Command) => {
      const all = await listRepositories(context)
      show(context, command, all, () =>
        formatTable(
          ['id', 'name', 'type', 'path'],
          all.map(one => [one.id, one.name, one.type, one.path]),
        ),
      )
    })
  repo
    .command('show <repository>')
    .description('show one repository')
    .action(async (wanted: string, _options: unknown, command: Command) => {
      const found = await findRepository(context, wanted)
      show(context, command, found, () => fields(found))
    })
  repo
    .command('storage <repository>')
    .description('measure how much a repository holds')
    .action((wanted: string, _options: unknown, command: Command) => storage(context, command, wanted))
}

async function add(
  context: CommandContext,
  command: Command,
  options: { name: string; path: string; existing?: boolean; passwordStdin?: boolean },
): Promise<void> {
  const { name, path, existing = false, passwordStdin } = options
  const { terminal } = context
  const wantsPassword = existing || passwordStdin === true
  const password = !wantsPassword
    ? undefined
    : terminal.isInteractive && !passwordStdin
      ? await terminal.askSecret('Password of the repository: ')
      : await terminal.readAll()
  const created = await (await context.client()).repositories.createRepository({
    body: { name, path, existing, ...(password !== undefined && { password }) },
  })
  show(context, command, created, () =>
    created.password === null
      ? fields(created.repository)
      : `${fields(created.repository)}\n\nPassword: ${created.password}\nKeep it safe: it is shown only now, and with it stock restic opens the repository.`,
  )
}

async function storage(context: CommandContext, command: Command, wanted: string): Promise<void> {
  const { id, name } = await findRepository(context, wanted)
  const found = await (await context.client()).repositories.getRepositoryStorage({
    params: { repositoryId: id },
  })
  show(context, command, found, () =>
    formatFields([
      ['Repository', name],
      ['Used', formatBytes(found.usedBytes)],
      ['Free', `${formatBytes(found.freeBytes)} of ${formatBytes(found.totalBytes)}`],
      ['Holds', `${found.restorePointCount} restore points, ${formatBytes(found.logicalBytes)} of disks`],
      ['Measured', formatInstant(found.checkedAt)],
    ]),
  )
}

async function listRepositories(context: CommandContext): Promise<Repository[]> {
  const client = await context.client()
  return everyPage(page => client.repositories.listRepositories({ query: page }))
}

/** The repository with this id or name. */
export async function findRepository(context: CommandContext, wanted: string): Promise<Repository> {
  return findByName('repository', wanted, await listRepositories(context))
}

function fields(one: Repository): string {
  return formatFields([
    ['Id', one.id],
    ['Name', one.name],
    ['Type', one.type],
    ['Path', one.path],
    ['Format id', one.formatId],
    ['Chunk size', formatBytes(one.chunkBytes)],
  ])
}
