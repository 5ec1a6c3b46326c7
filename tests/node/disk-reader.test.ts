import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import type { JobId } from '@sendense/contracts'
import { EngineError } from '@sendense/engine'
import { newId, systemClock } from '@sendense/platform'
import { memoryLog } from '@sendense/platform/testing'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { DiskSource } from '../../apps/node/src/disk-reader/disk-reader.ts'
import { NbdkitDiskReaders } from '../../apps/node/src/disk-reader/nbdkit-disk-readers.ts'
import { Ledger } from '../../apps/node/src/ledger/ledger.ts'
import { removeRecordedReader } from '../../apps/node/src/ledger/remove-readers.ts'
import { waitFor } from '../support/child.ts'
import { type Lab, startLab } from '../support/lab.ts'
import { makePrivateDir, type PrivateDir } from '../support/private-dir.ts'

const MIB = 1024 * 1024
const jobId = newId() as JobId
const never = new AbortController().signal

let lab: Lab
let dir: PrivateDir
let ledger: Ledger
let log: ReturnType<typeof memoryLog>
let source: DiskSource
let disk: { vm: string; key: number }

beforeEach(async () => {
  lab = await startLab({
    vms: [{ name: 'vm [1] ü', disks: [{ sizeBytes: 8 * MIB }], changeTracking: true }],
    password: 'pa"ss&<wörd> +%/',
  })
  dir = await makePrivateDir('reader')
  ledger = await Ledger.open(dir.join('ledger.jsonl'))
  log = memoryLog()
  const vm = await lab.control.vm('vm [1] ü')
  const [first] = vm.disks
  if (!first) throw new Error('The VM has no disk')
  disk = { vm: vm.ref, key: first.key }
  await lab.control.write(disk, 3 * MIB, 'what the snapshot holds')
  const snapshotMoRef = await lab.control.userSnapshot(vm.ref, 's')
  await lab.control.write(disk, 3 * MIB, 'what was written later!')
  const { host, port, user: username, password, thumbprintSha1: sha1Thumbprint } = lab
  const server = { host, port, username, password, sha1Thumbprint }
  source = { server, vmMoRef: vm.ref, snapshotMoRef, file: first.file }
})
afterEach(async () => {
  await ledger[Symbol.asyncDispose]()
  await dir[Symbol.asyncDispose]()
  await lab[Symbol.asyncDispose]()
})

function readers(settings: Partial<ConstructorParameters<typeof NbdkitDiskReaders>[0]['settings']> = {}) {
  return new NbdkitDiskReaders({
    settings: {
      nbdkit: 'nbdkit',
      vddkPlugin: lab.vddk.pluginPath,
      vddkLibraryDirectory: lab.vddk.libdir,
      transports: 'nbdssl',
      ...settings,
    },
    ...{ runDirectory: dir.path, ledger, clock: systemClock, log },
  })
}

const run = promisify(execFile)
const uriOf = (socket: string) => `nbd+unix:///?socket=${socket}`

async function tryToOpen(socket: string): Promise<EngineError> {
  const error = await run('nbdinfo', ['--size', uriOf(socket)]).then(
    () => undefined,
    () => new EngineError('disk-open-failed', 'The server refused'),
  )
  if (!error) throw new Error('The disk could be opened')
  return error
}

async function pidOf(directory: string): Promise<number> {
  return Number(await readFile(`${directory}/pid`, 'utf8'))
}

test('serves the bytes of the snapshot, and leaves nothing behind', async () => {
  {
    await using reader = await readers().open(source, { jobId, signal: never })
    await run('nbdcopy', [uriOf(reader.socketPath), dir.join('copy')])
    expect(ledger.entries()).toMatchObject([
      { kind: 'disk-reader', jobId, process: { pid: expect.any(Number) } },
    ])
  }
  const hash = createHash('sha256')
  await pipeline(createReadStream(dir.join('copy')), hash)
  expect(hash.digest('hex')).toBe(await lab.control.hashDisk(disk, source.snapshotMoRef))
  expect(ledger.entries()).toEqual([])
  expect((await readdir(dir.path)).toSorted()).toEqual(['copy', 'ledger.jsonl'])
  await waitFor('the sessions to end', async () =>
    (await lab.control.state()).vddkSessions === 0 ? true : undefined,
  )
})

test('the password is on no command line, in no environment, in no file and in no log', async () => {
  const { password } = lab
  await using reader = await readers().open(source, { jobId, signal: never })
  await run('nbdinfo', ['--size', uriOf(reader.socketPath)])
  const directory = reader.socketPath.replace(/\/nbd$/, '')
  const pid = await pidOf(directory)
  const seen = await Promise.all([
    readFile(`/proc/${pid}/cmdline`, 'utf8'),
    readFile(`/proc/${pid}/environ`, 'utf8'),
    readFile(dir.join('ledger.jsonl'), 'utf8'),
    ...(await readdir(directory))
      .filter(name => name !== 'nbd')
      .map(name => readFile(`${directory}/${name}`, 'utf8')),
  ])
  expect(seen[0]).toContain(source.file)
  expect(`${seen.join('\n')}${JSON.stringify(log.lines)}`).not.toContain(password)
  expect(await readdir(directory)).not.toContain('pw')
})

test.for([
  ['Failed to lock the file', 'disk-locked'],
  ['NFC session limit reached', 'vddk-session-limit'],
  ['Cannot complete login due to an incorrect user name or password', 'vcenter-credentials-invalid'],
  ['The certificate thumbprint does not match', 'vcenter-certificate-mismatch'],
  ['Insufficient permissions in the host operating system', 'vcenter-permission-missing'],
  ['A file was not found', 'disk-open-failed'],
] as const)('an open that VDDK refuses with "%s" is %s', async ([text, code]) => {
  await lab.control.vddkFail(text)
  await using reader = await readers().open(source, { jobId, signal: never })
  const error = await reader.explain(await tryToOpen(reader.socketPath))
  expect(error).toMatchObject({ code })
  expect(error.message).toContain(text)
})

test('a password that VDDK echoes is blotted out', async () => {
  await lab.control.vddkFail(`Login failed for ${lab.password}`)
  await using reader = await readers().open(source, { jobId, signal: never })
  const error = await reader.explain(await tryToOpen(reader.socketPath))
  expect(error.message).toContain('Login failed for ***')
  expect(JSON.stringify(log.lines)).not.toContain(lab.password)
})

test('a disk that cannot be read says so', async () => {
  await lab.control.vddkReadError(3 * MIB)
  await using reader = await readers().open(source, { jobId, signal: never })
  await expect(run('nbdcopy', [uriOf(reader.socketPath), 'null:'])).rejects.toThrow()
  const error = await reader.explain(new EngineError('disk-read-failed', 'EIO'))
  expect(error).toMatchObject({ code: 'disk-read-failed' })
})

test('a reader that is killed has crashed', async () => {
  await using reader = await readers().open(source, { jobId, signal: never })
  process.kill(await pidOf(reader.socketPath.replace(/\/nbd$/, '')), 'SIGABRT')
  const error = await reader.explain(new EngineError('disk-read-failed', 'The connection was closed'))
  expect(error).toMatchObject({ code: 'nbdkit-crashed', message: expect.stringContaining('SIGABRT') })
})

test.for([
  ['the plugin', { vddkPlugin: '/nowhere/nbdkit-vddk-plugin.so' }],
  ['VMware’s library', { vddkLibraryDirectory: '/nowhere' }],
  ['nbdkit', { nbdkit: '/nowhere/nbdkit' }],
] as const)('without %s the reader is unavailable, and nothing is left', async ([_what, settings]) => {
  await expect(readers(settings).open(source, { jobId, signal: never })).rejects.toMatchObject({
    code: 'vddk-unavailable',
    message: expect.stringContaining('/nowhere'),
  })
  expect(ledger.entries()).toEqual([])
  expect(await readdir(dir.path)).toEqual(['ledger.jsonl'])
})

test('a start that is cancelled leaves nothing', async () => {
  const abort = new AbortController()
  const opening = readers().open(source, { jobId, signal: abort.signal })
  abort.abort(new Error('enough'))
  await expect(opening).rejects.toThrow('enough')
  expect(await readdir(dir.path)).toEqual(['ledger.jsonl'])
})

test('a reader of a dead Node is found by its directory, ended and removed; a stranger is not', async () => {
  const reader = await readers().open(source, { jobId, signal: never })
  const other = await readers().open(source, { jobId, signal: never })
  // A later Node reads the same ledger and knows nothing of the process handles.
  await using later = await Ledger.open(dir.join('ledger.jsonl'))
  const records = later.abandoned('disk-reader')
  const mine = records.find(({ entry }) => reader.socketPath.startsWith(entry.directory))
  if (!mine?.entry.process) throw new Error('The reader is not in the ledger')
  // The crash came between the start and the note of the process.
  await mine.update({ ...mine.entry, process: null })
  await removeRecordedReader(mine)
  expect(await reader.explain(new EngineError('disk-read-failed', ''))).toMatchObject({
    code: 'nbdkit-crashed',
  })
  expect((await run('nbdinfo', ['--size', uriOf(other.socketPath)])).stdout.trim()).toBe(String(8 * MIB))
  await reader[Symbol.asyncDispose]()
  await other[Symbol.asyncDispose]()
  expect(await readdir(dir.path)).toEqual(['ledger.jsonl'])
})
