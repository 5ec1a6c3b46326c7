import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { generate } from 'selfsigned'
import {
  type CaptureDiskOptions,
  type CaptureSession,
  captureDisk,
  type DataPlane,
  diskFileName,
  initRepository,
  listenDataPlane,
  type Repository,
} from '../src/index.ts'

export const CHUNK_BYTES = 1 << 20
export const PASSWORD = 'correct horse'

/** A repository, a listener, a raw disk image, and nbdkit before it, in a private folder. */
export interface Lab extends AsyncDisposable {
  readonly folder: string
  readonly image: string
  readonly repositoryPath: string
  readonly repository: Repository
  readonly dataPlane: DataPlane
  begin(captureId?: string): Promise<CaptureSession>
  /** What a Node needs to capture the image into a session. */
  options(session: CaptureSession, areas?: CaptureDiskOptions['areas']): CaptureDiskOptions
  /** Captures the image in a session of its own; the id of the restore point. */
  backUp(areas?: CaptureDiskOptions['areas'], base?: string): Promise<string>
}

export const SIZE_BYTES = 24 * CHUNK_BYTES + 4096

export async function startLab({ filters = [], parameters = [] }: NbdkitOptions = {}): Promise<Lab> {
  const folder = mkdtempSync(join(tmpdir(), 'sendense-engine-'))
  const image = makeImage(join(folder, 'disk.raw'))
  const socketPath = join(folder, 'nbd.sock')
  const nbdkit = await startNbdkit(image, socketPath, { filters, parameters })
  const repositoryPath = join(folder, 'repository')
  const repository = await initRepository({
    place: { type: 'local', path: repositoryPath },
    password: PASSWORD,
  })
  const dataPlane = await listenDataPlane({ host: '127.0.0.1', port: 0, ...(await certificate()) })

  const begin: Lab['begin'] = (captureId = 'job-7') =>
    repository.beginCapture({ captureId, dataPlane, chunkBytes: CHUNK_BYTES, idleTimeoutMs: 60_000 })
  const options: Lab['options'] = (session, areas = { kind: 'whole' }) => ({
    source: { socketPath },
    areas,
    diskKey: '2000',
    chunkBytes: CHUNK_BYTES,
    target: {
      host: '127.0.0.1',
      port: dataPlane.port,
      certificateSha256: dataPlane.certificateSha256,
      captureId: session.id,
      ticket: session.ticket,
    },
  })
  return {
    folder,
    image,
    repositoryPath,
    repository,
    dataPlane,
    begin,
    options,
    backUp: (areas, base) => backUp({ begin, options }, areas, base),
    async [Symbol.asyncDispose]() {
      await repository.close()
      await dataPlane.close()
      nbdkit.kill('SIGKILL')
      rmSync(folder, { recursive: true })
    },
  }
}

async function backUp(
  lab: Pick<Lab, 'begin' | 'options'>,
  areas: CaptureDiskOptions['areas'] = { kind: 'whole' },
  base?: string,
): Promise<string> {
  const session = await lab.begin()
  const file = diskFileName('2000')
  await session.beginDisk({
    diskKey: '2000',
    sizeBytes: SIZE_BYTES,
    ...(base !== undefined && { base: { restorePointId: base, file } }),
  })
  await captureDisk(lab.options(session, areas))
  const { restorePointId } = await session.commit(aCommit())
  return restorePointId
}

export function aCommit() {
  return {
    hostname: 'web/1 [blue]',
    time: new Date('2026-11-23T12:00:00.123Z'),
    tags: ['vm:web', 'backup:7'],
    files: [{ name: 'vm.json', text: '{"name":"web – ü"}' }],
  }
}

/** SHA-256 of a file, read in pieces. */
export function digestOf(path: string): string {
  const hash = createHash('sha256')
  const piece = Buffer.alloc(CHUNK_BYTES)
  const file = openSync(path, 'r')
  for (let length = readSync(file, piece); length > 0; length = readSync(file, piece)) {
    hash.update(piece.subarray(0, length))
  }
  closeSync(file)
  return hash.digest('hex')
}

/** Overwrites a range of the image, as a guest does. */
export function writeImage(image: string, offset: number, bytes: Uint8Array): void {
  const file = openSync(image, 'r+')
  writeSync(file, bytes, 0, bytes.length, offset)
  closeSync(file)
}

/** A third noise, a third text, a third holes. */
function makeImage(path: string): string {
  writeFileSync(path, '')
  truncateSync(path, SIZE_BYTES)
  writeImage(path, 0, randomBytes(8 * CHUNK_BYTES))
  writeImage(path, 12 * CHUNK_BYTES, Buffer.alloc(8 * CHUNK_BYTES, 'all work and no play makes a dull disk '))
  writeImage(path, SIZE_BYTES - 4096, randomBytes(4096))
  return path
}

interface NbdkitOptions {
  readonly filters?: readonly string[]
  readonly parameters?: readonly string[]
}

async function startNbdkit(
  image: string,
  socketPath: string,
  { filters = [], parameters = [] }: NbdkitOptions,
): Promise<ChildProcess> {
  const before = ['--foreground', '--exit-with-parent', '--readonly', '--unix', socketPath]
  const after = ['file', image, ...parameters]
  const nbdkit = spawn('nbdkit', [...before, ...filters.map(filter => `--filter=${filter}`), ...after], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const failed = new Promise<never>((_, reject) => {
    nbdkit.once('error', reject)
    nbdkit.once('exit', code => reject(new Error(`nbdkit ended with ${code}`)))
  })
  const listening = async () => {
    while (!existsSync(socketPath)) await sleep(10)
  }
  await Promise.race([listening(), failed])
  failed.catch(() => undefined)
  return nbdkit
}

async function certificate() {
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'hub.example' }], {
    keyType: 'ec',
    curve: 'P-256',
  })
  return { certificatePem: cert, privateKeyPem: key }
}

/** Runs stock restic on the lab's repository. */
export function restic(lab: Lab, ...parameters: string[]): string {
  return execFileSync('restic', ['--no-cache', '--repo', lab.repositoryPath, ...parameters], {
    env: { ...process.env, RESTIC_PASSWORD: PASSWORD },
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  })
}
