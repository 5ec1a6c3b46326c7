import {
  type HubMethods,
  NO_BYTES,
  NodeId,
  RepositoryId,
  type TunnelHandlers,
  VmId,
  type VmManifest,
} from '@sendense/contracts'
import { type CaptureSession, type DataPlane, EngineError, type RateLimit } from '@sendense/engine'
import { AppError, newId } from '@sendense/platform'
import { FakeClock, memoryLog } from '@sendense/platform/testing'
import { beforeEach, expect, test, vi } from 'vitest'
import type { Vm } from '../inventory/index.ts'
import { BackupsMemoryStore } from './backups.store.memory.ts'
import { aBackup } from './backups.store.suite.ts'
import { CaptureHandlers } from './capture-handlers.ts'
import { type ActiveCapture, type CaptureOutcome, CaptureRegistry } from './capture-registry.ts'

const MIB = 1024 * 1024
const nodeId = NodeId.parse(newId())
const owner = { vmId: VmId.parse(newId()), repositoryId: RepositoryId.parse(newId()), nodeId }
const backup = { ...aBackup(owner), vmName: 'db1' }
const { jobId } = backup
const limit: RateLimit = { setRate: async () => {} }
const limits: Record<string, RateLimit> = { [nodeId]: limit }

let store: BackupsMemoryStore
let session: ReturnType<typeof aSession>
let handlers: TunnelHandlers<HubMethods>
let capture: ActiveCapture
let clock: FakeClock
let others: TunnelHandlers<HubMethods>
beforeEach(async () => {
  clock = new FakeClock()
  store = new BackupsMemoryStore()
  await store.add(backup)
  session = aSession()
  capture = aCapture()
  const captures = new CaptureRegistry()
  captures.add(capture)
  const all = new CaptureHandlers({
    store,
    captures,
    // Only its port is told to the Node.
    dataPlane: { port: 8444 } as DataPlane,
    ports: {
      tunnels: { isConnected: () => true, call: () => Promise.reject(new Error('not called')) as never },
      nodes: { rateLimitOf: async id => limits[id] ?? Promise.reject(new Error('another Node')) },
      repositories: {
        open: () => Promise.reject(new Error('not called')),
        openToWrite: () => Promise.reject(new Error('not called')),
        ifOpen: async () => undefined,
        protectedUntil: async () => null,
        measureSoon: () => {},
      },
      jobs: { setStep: async () => {}, report: () => {}, endOf: async () => undefined },
    },
    clock,
    log: memoryLog(),
    onHello: async () => {},
  })
  handlers = all.for(nodeId)
  others = all.for(NodeId.parse(newId()))
})

test('a capture goes from its plan to a restore point that is recorded', async () => {
  const plan = await planned()
  expect(capture.repository.beginCapture).toHaveBeenCalledWith(
    expect.objectContaining({ captureId: jobId, rateLimits: [limit] }),
  )
  expect(plan).toMatchObject({
    disks: [{ diskKey: 2000, reason: 'first-backup' }],
    dataPlane: { port: 8444, captureId: jobId, ticket: 'the-ticket' },
  })
  await handlers.beginDisk(aDisk())
  const committed = await handlers.commitCapture(aCommit())
  expect(committed).toEqual({ backupId: backup.id, restorePointId: 'ab' })
  expect(await store.get(backup.id)).toMatchObject({
    status: 'succeeded',
    restorePointId: 'ab',
    disks: [{ key: 2000, changeId: '52 aa/1', mode: 'full', reasons: [{ code: 'first-backup' }] }],
  })
})

test('what is asked again while it is under way, or after it, is done once', async () => {
  await planned()
  await planned()
  await handlers.beginDisk(aDisk())
  await handlers.beginDisk(aDisk())
  const [first, second] = await Promise.all([
    handlers.commitCapture(aCommit()),
    handlers.commitCapture(aCommit()),
  ])
  expect(second).toEqual(first)
  expect(await handlers.commitCapture(aCommit())).toEqual(first)
  expect(session.calls).toEqual(['beginDisk', 'commit'])
})

test('a restore point that was made while the database is away is written down when it is back', async () => {
  await planned()
  await handlers.beginDisk(aDisk())
  const complete = store.complete.bind(store)
  let refusals = 0
  store.complete = async (...args) => {
    if (refusals++ < 2) throw new AppError('database-unavailable')
    return complete(...args)
  }
  const committed = handlers.commitCapture(aCommit())
  for (let count = 0; count < 10; count++) {
    await new Promise(resolve => setImmediate(resolve))
    await clock.advance(1000)
  }
  await expect(committed).resolves.toMatchObject({ restorePointId: 'ab' })
  expect(session.calls).toEqual(['beginDisk', 'commit'])
  expect((await store.get(backup.id))?.status).toBe('succeeded')
})

test('a disk that nothing was said about keeps the restore point from being made', async () => {
  await planned()
  await expect(handlers.commitCapture(aCommit())).rejects.toMatchObject({ code: 'capture-incomplete' })
  expect(session.calls).toEqual([])
})

test('a disk cannot be read against a base that there is not', async () => {
  await planned()
  const attempt = handlers.beginDisk({ ...aDisk(), mode: 'incremental' })
  await expect(attempt).rejects.toMatchObject({ code: 'conflict' })
})

test.each([
  ['restore-point-damaged', 'restore-point-damaged', true],
  ['repository-damaged', 'restore-point-damaged', true],
  ['restore-point-missing', 'restore-point-missing', false],
  ['restore-point-being-pruned', 'restore-point-being-pruned', false],
  ['base-disk-missing', 'restore-point-differs', false],
  ['base-size-differs', 'restore-point-differs', false],
  ['base-chunk-size-differs', 'restore-point-differs', false],
  ['repository-unavailable', 'repository-unavailable', false],
] as const)('a base that is refused as %s is told as %s; damaged: %s', async (found, told, isDamaged) => {
  await planned()
  capture.base = { backupId: backup.id, restorePointId: 'ab', chunkBytes: 4 * MIB, disks: [aBaseDisk] }
  session.beginDisk = () => Promise.reject(new EngineError(found, 'The base is of no use'))
  const attempt = handlers.beginDisk({ ...aDisk(), mode: 'incremental' })
  await expect(attempt).rejects.toMatchObject({ code: told })
  const { damagedAt } = (await store.get(backup.id)) ?? {}
  expect(damagedAt instanceof Date).toBe(isDamaged)
})

test('a Node has no say in the capture of another one', async () => {
  await expect(others.commitCapture(aCommit())).rejects.toMatchObject({ code: 'capture-unknown' })
  await others.finishCapture({ jobId, state: 'failed', failure: null, leftovers: [] })
  let isEnded = false
  void capture.outcome.promise.then(() => {
    isEnded = true
  })
  await new Promise(resolve => setImmediate(resolve))
  expect(isEnded).toBe(false)
})

test('a Node that no longer knows its capture has lost it', async () => {
  await handlers.hello({ version: '0.1.0', tunnelVersion: 1, captures: [] })
  expect(await capture.outcome.promise).toMatchObject({ state: 'failed', failure: { code: 'node-lost' } })
})

test('a Node that is two releases away is refused', async () => {
  const attempt = handlers.hello({ version: '9', tunnelVersion: 3, captures: [] })
  await expect(attempt).rejects.toMatchObject({ code: 'protocol-mismatch' })
})

function planned() {
  return handlers.planCapture({
    jobId,
    capturedAt: '2026-01-01T00:00:00.000Z',
    isQuiesced: false,
    reasons: [],
    manifest: aManifest(),
    disks: [{ diskKey: 2000, changeId: '52 aa/1' }],
  })
}

function aDisk() {
  return { jobId, diskKey: 2000, sizeBytes: 64 * MIB, mode: 'full' as const, reasons: [] }
}

const aBaseDisk = { key: 2000, file: 'disk-2000.raw', sizeBytes: 64 * MIB, uuid: null, changeId: '1' }

function aCommit() {
  return { jobId, disks: [{ diskKey: 2000, bytes: NO_BYTES }] }
}

function aManifest(): VmManifest {
  const disk = {
    key: 2000,
    label: 'Hard disk 1',
    backing: '[ds] a.vmdk',
    uuid: 'u1',
    datastore: 'ds',
    capacityBytes: 64 * MIB,
    mode: 'persistent',
    excluded: null,
    controllerKey: 1000,
    controllerType: 'pvscsi',
    busNumber: 0,
    unitNumber: 0,
  }
  return {
    ...{ vcenterInstanceUuid: 'vc', instanceUuid: 'vm', biosUuid: 'bios', moRef: 'vm-1', name: 'db1' },
    ...{ folderPath: '/', datacenter: 'dc', guestId: 'other', guestOs: '', firmware: 'bios' as const },
    ...{ hardwareVersion: 'vmx-19', cpuCount: 1, memoryMb: 512, disks: [disk], nics: [] },
  }
}

function aSession() {
  const calls: string[] = []
  const fake: Pick<CaptureSession, 'id' | 'ticket' | 'beginDisk' | 'counters' | 'commit'> = {
    id: jobId,
    ticket: 'the-ticket',
    beginDisk: async () => void calls.push('beginDisk'),
    counters: () => ({
      disks: [
        {
          ...{ diskKey: '2000', logicalBytes: 64 * MIB, offeredBytes: 0, zeroBytes: 0, newBytes: 0 },
          ...{ storedBytes: 0, finished: true },
        },
      ],
    }),
    commit: async () => {
      calls.push('commit')
      await new Promise(resolve => setImmediate(resolve))
      return { restorePointId: 'ab', newBytes: 0, storedBytes: 0 }
    },
  }
  return { ...fake, calls }
}

function aCapture(): ActiveCapture {
  return {
    backup,
    // Only the vCenter of the VM goes into the restore point.
    vm: { vcenterId: newId() } as Vm,
    nodeId,
    requestedMode: 'auto',
    bytesPerSecondMax: undefined,
    repository: { restorePointIds: async () => [], beginCapture: vi.fn(async () => session) } as never,
    base: undefined,
    session: undefined,
    facts: undefined,
    disks: new Map(),
    committing: undefined,
    outcome: Promise.withResolvers<CaptureOutcome>(),
  }
}
