import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { JournalLine, type LedgerEntry } from '../../apps/node/src/ledger/ledger-entry.ts'
import { waitFor } from './child.ts'
import { processesNaming } from './our-processes.ts'
import type { Stage } from './stage.ts'

/** Waits until nothing of a capture is left anywhere; fails with what is. */
export async function untilNothingLeft(stage: Stage, timeoutMs = 20_000): Promise<void> {
  let left: string[] = []
  await waitFor(
    'everything of ours to be gone',
    async () => {
      left = await leftovers(stage)
      return left.length === 0 || undefined
    },
    timeoutMs,
  ).catch((cause: unknown) => {
    throw new Error(`Left behind: ${left.join('; ')}`, { cause })
  })
}

/** What is there of captures, in words: snapshots, disk sessions, processes, sockets, files, ledger entries. */
export async function leftovers(stage: Stage): Promise<string[]> {
  const found = await Promise.all([
    onVcenter(stage),
    processesAndSockets(stage),
    nodeFiles(stage),
    temporaryFiles(stage),
    repositoryLocks(stage),
    ledgerEntries(stage),
  ])
  return found.flat()
}

async function onVcenter({ lab }: Stage): Promise<string[]> {
  const { vms, vddkSessions } = await lab.control.state()
  const snapshots = vms.flatMap(vm => vm.snapshots.map(({ name }) => name))
  return [
    ...snapshots.filter(name => name.startsWith('sendense-')).map(name => `snapshot ${name}`),
    ...(vddkSessions > 0 ? [`${vddkSessions} open disks`] : []),
  ]
}

async function processesAndSockets({ node }: Stage): Promise<string[]> {
  const processes = await processesNaming(node.dir.path)
  const sockets = (await readFile('/proc/net/unix', 'utf8')).split('\n')
  return [
    ...processes.map(({ pid, cmdline }) => `process ${pid} ${cmdline.split('\0')[0]}`),
    ...sockets.filter(line => line.includes(node.dir.path)).map(line => `socket ${line}`),
  ]
}

const NODE_FILES = ['api.json', 'hub.json', 'identity.json', 'ledger.jsonl', 'lock', 'run']

async function nodeFiles({ node }: Stage): Promise<string[]> {
  const files = (await readdir(node.dir.join('n'))).filter(name => !NODE_FILES.includes(name))
  const directories = await readdir(node.dir.join('n', 'run'))
  return [...files.map(name => `file ${name}`), ...directories.map(name => `private directory ${name}`)]
}

/** Files that have not got their name, at the Hub, in the repository and at the Node. */
async function temporaryFiles({ hub, node }: Stage): Promise<string[]> {
  const listings = await Promise.all(
    [hub.dir.path, node.dir.path].map(async dir => {
      const names = await readdir(dir, { recursive: true })
      return names.filter(name => TEMPORARY.test(name)).map(name => `temporary file ${join(dir, name)}`)
    }),
  )
  return listings.flat()
}

/** How parts of ours name files until they are whole. */
const TEMPORARY = /\.sendense-tmp-|\.partial-|\.tmp$/

/** What makes other programs wait: leases of captures that nobody serves any more. */
async function repositoryLocks({ repository }: Stage): Promise<string[]> {
  return (await readdir(join(repository.path, 'locks'))).map(name => `lock ${name}`)
}

async function ledgerEntries({ node }: Stage): Promise<string[]> {
  const open = new Map<string, LedgerEntry>()
  const text = await readFile(node.dir.join('n', 'ledger.jsonl'), 'utf8')
  for (const line of text.split('\n').filter(one => one !== '')) {
    const parsed = JournalLine.parse(JSON.parse(line))
    if (parsed.op === 'set') open.set(parsed.id, parsed.entry)
    else open.delete(parsed.id)
  }
  return [...open.values()].filter(isOfSomething).map(entry => `ledger entry ${entry.kind}`)
}

/** Not an order for a snapshot that was never answered and not found: the Node looks for it once more, for a minute. */
function isOfSomething(entry: LedgerEntry): boolean {
  return entry.kind !== 'snapshot' || entry.absentAt === null
}
