import { type Failure, JobId, NodeId, RepositoryId, VcenterId, VmId } from '@sendense/contracts'
import { AppError, newId } from '@sendense/platform'
import { FakeClock, memoryLog } from '@sendense/platform/testing'
import { beforeEach, expect, test } from 'vitest'
import { BackupsMemoryStore } from './backups.store.memory.ts'
import { aBackup } from './backups.store.suite.ts'
import { CaptureRegistry } from './capture-registry.ts'
import { type BackupInput, type RunBackupOptions, runBackup } from './run-backup.ts'

const jobId = JobId.parse(newId())
const { id: backupId, ...asked } = aBackup({
  vmId: VmId.parse(newId()),
  repositoryId: RepositoryId.parse(newId()),
  nodeId: NodeId.parse(newId()),
})
const input: BackupInput = {
  ...{ backupId, vmId: asked.vmId, repositoryId: asked.repositoryId, nodeId: asked.nodeId },
  ...{ chunkBytes: 1024, mode: 'auto', quiesce: false, tags: {} },
}

let store: BackupsMemoryStore
let captures: CaptureRegistry
let stop: AbortController
let measured: RepositoryId[]
let asks: string[]
let startCapture: () => Promise<void>
beforeEach(() => {
  store = new BackupsMemoryStore()
  captures = new CaptureRegistry()
  stop = new AbortController()
  measured = []
  asks = []
  startCapture = async () => {}
})

function run() {
  const node = {
    startCapture: () => startCapture(),
    cancelCapture: async () => {
      asks.push('cancel')
      captures.find(jobId)?.outcome.resolve({ state: 'cancelled', failure: null, leftovers: [] })
    },
  }
  const options = {
    ...{ store, captures, clock: new FakeClock(), log: memoryLog() },
    inventory: { find: async () => ({ name: 'db1', vcenterId: VcenterId.parse(newId()) }) },
    vcenters: { find: async () => ({}), accessOf: () => ({}) },
    ports: {
      tunnels: { call: () => node },
      repositories: {
        openToWrite: async () => ({ repository: {} }),
        measureSoon: (id: RepositoryId) => void measured.push(id),
      },
    },
  }
  return runBackup(input, { jobId, signal: stop.signal }, options as unknown as RunBackupOptions)
}

/** How the Node ends the capture as soon as it was ordered. */
function endsWith(failure: Failure) {
  startCapture = async () =>
    captures.find(jobId)?.outcome.resolve({ state: 'failed', failure, leftovers: [] })
}

test('a cancel that comes while the capture is being ordered reaches the Node', async () => {
  startCapture = async () => stop.abort(new AppError('job-cancelled'))
  await expect(run()).rejects.toMatchObject({ code: 'job-cancelled' })
  expect(asks).toEqual(['cancel'])
  expect(await store.get(backupId)).toMatchObject({ status: 'cancelled' })
})

test('the repository is measured after a backup, also one that has filled it', async () => {
  endsWith({ code: 'repository-full', detail: 'No space is left' })
  await expect(run()).rejects.toMatchObject({ code: 'repository-full' })
  expect(await store.get(backupId)).toMatchObject({ status: 'failed' })
  expect(measured).toEqual([input.repositoryId])
})
