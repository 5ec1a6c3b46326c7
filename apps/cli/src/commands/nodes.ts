import { type NodeId, NodeStatus, type NodeView } from '@sendense/contracts'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { type CommandContext, show } from '../command-context.ts'
import { everyPage, findByName } from '../find-by-name.ts'
import { formatBytes, formatFields, formatInstant, formatTable } from '../format.ts'
import { parseLimit } from '../parse-size.ts'

/** `node pair|list|show|limit|approve|reject|revoke`. */
export function addNodeCommands(program: Command, context: CommandContext): void {
  const node = program.command('node').description('Nodes: pair, approve, look at')
  node
    .command('pair')
    .description('create a one-time pairing code to enter on the Node')
    .option('--valid-for <seconds>', 'how long the code is valid', toSeconds, 600)
    .action(async ({ validFor }: { validFor: number }, command: Command) => {
      const code = await (await context.client()).enrollment.createPairingCode({
        body: { validForSeconds: validFor },
      })
      show(context, command, code, () =>
        formatFields([
          ['Pairing code', code.pairingCode],
          ['Valid until', formatInstant(code.expiresAt)],
          ['On the Node', 'sendense-node pair --hub <address of this Hub>, then enter the code'],
        ]),
      )
    })
  node
    .command('list')
    .description('list the Nodes')
    .addOption(new Option('--status <status>', 'only in this status').choices(NodeStatus.options))
    .action(async (filter: { status?: NodeStatus }, command: Command) => {
      const nodes = await listNodes(context, filter)
      show(context, command, nodes, () => nodeTable(nodes))
    })
  node
    .command('show <node>')
    .description('show one Node')
    .action(async (wanted: string, _options: unknown, command: Command) => {
      const found = await findNode(context, wanted)
      show(context, command, found, () => nodeFields(found))
    })
  node
    .command('limit <node> <rate>')
    .description('limit how fast a Node sends, such as 50MiB a second; "none" takes the limit away')
    .action(async (wanted: string, rate: string, _options: unknown, command: Command) => {
      const bytesPerSecondMax = parseLimit(rate)
      const { id } = await findNode(context, wanted)
      const changed = await (await context.client()).enrollment.updateNode({
        params: { nodeId: id },
        body: { bytesPerSecondMax },
      })
      show(context, command, changed, () => nodeFields(changed))
    })
  addDecisions(node, context)
}

function addDecisions(node: Command, context: CommandContext): void {
  node
    .command('approve <node>')
    .description('approve a Node; compare its key fingerprint first')
    .action(async (wanted: string, _options: unknown, command: Command) => {
      const { id } = await findNode(context, wanted)
      const approved = await (await context.client()).enrollment.approveNode({ params: { nodeId: id } })
      show(context, command, approved, () => nodeFields(approved))
    })
  for (const [name, operation] of [
    ['reject', 'rejectNode'],
    ['revoke', 'revokeNode'],
  ] as const) {
    node
      .command(`${name} <node>`)
      .description(`${name} a Node`)
      .requiredOption('--reason <text>', 'why; kept with the Node')
      .action(async (wanted: string, { reason }: { reason: string }, command: Command) => {
        const { id } = await findNode(context, wanted)
        const decided = await (await context.client()).enrollment[operation]({
          params: { nodeId: id },
          body: { reason },
        })
        show(context, command, decided, () => nodeFields(decided))
      })
  }
}

async function listNodes(context: CommandContext, filter: { status?: NodeStatus } = {}): Promise<NodeView[]> {
  const client = await context.client()
  return everyPage(page => client.enrollment.listNodes({ query: { ...page, ...filter } }))
}

/** The Node with this id or name. */
export async function findNode(context: CommandContext, wanted: string): Promise<NodeView & { id: NodeId }> {
  return findByName('Node', wanted, await listNodes(context))
}

function nodeTable(nodes: readonly NodeView[]): string {
  return formatTable(
    ['id', 'name', 'status', 'connected', 'version', 'last seen'],
    nodes.map(one => [
      one.id,
      one.name,
      one.status,
      one.isConnected ? 'yes' : 'no',
      one.version,
      formatInstant(one.lastSeenAt),
    ]),
  )
}

function nodeFields(one: NodeView): string {
  return formatFields([
    ['Id', one.id],
    ['Name', one.name],
    ['Status', one.status],
    ['Connected', one.isConnected ? 'yes' : 'no'],
    ['Version', one.version],
    ['Address', one.address],
    ['Key fingerprint', one.keyFingerprint],
    ['Last seen', formatInstant(one.lastSeenAt)],
    ['Limit', one.bytesPerSecondMax === null ? 'none' : `${formatBytes(one.bytesPerSecondMax)}/s`],
    ...(one.decidedBy === null
      ? []
      : [['Decided by', `${one.decidedBy}, ${formatInstant(one.decidedAt)}`] as const]),
    ...(one.decisionReason === null ? [] : [['Reason', one.decisionReason] as const]),
  ])
}

function toSeconds(text: string): number {
  const seconds = Number(text)
  if (!Number.isInteger(seconds) || seconds < 1)
    throw new InvalidArgumentError('Give a whole number of seconds.')
  return seconds
}
