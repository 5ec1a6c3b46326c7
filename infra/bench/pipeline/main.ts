/**
 * Sendense's data path from the command line, for the benchmark: this process is the Hub, the one that it starts
 * is the Node. They share nothing but a TLS connection on loopback and the ticket.
 */
import { type ChildProcess, execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import {
  type CaptureSession,
  initRepository,
  listenDataPlane,
  openRepository,
  type RepositoryLocation,
} from '@sendense/engine'
import type { NodeOrder, NodeReport } from './node.ts'

const CHUNK_BYTES = Number(process.env.SENDENSE_BENCH_CHUNK_BYTES ?? 256 * 1024)
const DISK_KEY = '2000'
const FILE = `disk-${DISK_KEY}.raw`

const [command, ...args] = process.argv.slice(2)
const commands: Record<string, (...args: string[]) => Promise<void>> = { init, backup, restore, verify }
const run = commands[command ?? '']
if (!run) throw new Error(`Usage: main.ts ${Object.keys(commands).join('|')} …`)
await run(...args)

async function init(path: string, folder: string): Promise<void> {
  execFileSync('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
    ...['-subj', '/CN=bench', '-keyout', `${folder}/key.pem`, '-out', `${folder}/cert.pem`],
  ])
  await using _repository = await initRepository(location(path))
}

async function backup(
  path: string,
  folder: string,
  uri: string,
  vm: string,
  point: string,
  extentsFile: string,
  parent?: string,
): Promise<void> {
  // Both processes run before a backup in real life; here they at least start side by side.
  const node = fork(fileURLToPath(new URL('node.ts', import.meta.url)))
  await using repository = await openRepository(location(path))
  await using dataPlane = await listenDataPlane({
    host: '127.0.0.1',
    port: 0,
    certificatePem: readFileSync(`${folder}/cert.pem`, 'utf8'),
    privateKeyPem: readFileSync(`${folder}/key.pem`, 'utf8'),
  })
  // Since this process was started. A Hub runs already, with its repositories open.
  print({ startMs: performance.now() })
  await using session = await repository.beginCapture({
    captureId: `${vm}-${point}`,
    dataPlane,
    chunkBytes: CHUNK_BYTES,
    idleTimeoutMs: 60_000,
  })
  const base = parent && (await find(repository, vm, parent))
  await session.beginDisk({
    diskKey: DISK_KEY,
    sizeBytes: Number(process.env.SIZE),
    ...(base && { base: { restorePointId: base, file: FILE } }),
  })
  await runNode(node, session, {
    socketPath: new URLSearchParams(uri.slice(uri.indexOf('?'))).get('socket') ?? '',
    extentsFile,
    isIncremental: base !== undefined,
    port: dataPlane.port,
    certificateSha256: dataPlane.certificateSha256,
  })
  const report = await session.commit({ hostname: vm, time: new Date(), tags: [point], files: [] })
  print({ ...report, hubPeakBytes: process.resourceUsage().maxRSS * 1024 })
}

async function runNode(
  node: ChildProcess,
  session: CaptureSession,
  source: Omit<NodeOrder, 'captureId' | 'ticket' | 'chunkBytes' | 'diskKey'>,
): Promise<void> {
  const order: NodeOrder = {
    ...source,
    captureId: session.id,
    ticket: session.ticket,
    chunkBytes: CHUNK_BYTES,
    diskKey: DISK_KEY,
  }
  node.send(order)
  node.on('message', (report: NodeReport) => print(report))
  const [code] = (await once(node, 'exit')) as [number | null]
  if (code !== 0) throw new Error(`The Node process ended with ${code}`)
}

async function restore(path: string, vm: string, point: string, targetPath: string): Promise<void> {
  await using repository = await openRepository(location(path))
  const restorePointId = await find(repository, vm, point)
  if (!restorePointId) throw new Error(`There is no restore point ${point} of ${vm}`)
  print(await repository.restoreDisk({ restorePointId, file: FILE, targetPath, overwrite: true }))
}

async function verify(path: string): Promise<void> {
  await using repository = await openRepository(location(path))
  const report = await repository.check({ readData: true })
  print(report)
  if (report.problems.length > 0) process.exitCode = 1
}

async function find(
  repository: Awaited<ReturnType<typeof openRepository>>,
  vm: string,
  point: string,
): Promise<string | undefined> {
  const all = await repository.restorePoints()
  return all.find(one => one.hostname === vm && one.tags.includes(point))?.id
}

function location(path: string): RepositoryLocation {
  return { place: { type: 'local', path }, password: password() }
}

function password(): string {
  const { SENDENSE_BENCH_PASSWORD } = process.env
  if (!SENDENSE_BENCH_PASSWORD) throw new Error('Set SENDENSE_BENCH_PASSWORD')
  return SENDENSE_BENCH_PASSWORD
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}
