import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BASE_TROUBLES, type HubMethods, type ProblemCode } from '@sendense/contracts'
import { type CaptureDiskOptions, type CaptureDiskReport, EngineError } from '@sendense/engine'
import { AppError } from '@sendense/platform'
import { memoryLog } from '@sendense/platform/testing'
import type { VsphereSession } from '@sendense/vsphere'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Ledger } from '../ledger/ledger.ts'
import { FakeDiskReaders } from '../testing/fake-disk-readers.ts'
import { FakeHubCalls } from '../testing/fake-hub-calls.ts'
import { FakeVsphere, vsphereError } from '../testing/fake-vsphere.ts'
import { InstantClock } from '../testing/instant-clock.ts'
import { aDisk, anOrder, aVm } from '../testing/makers.ts'
import { VcenterConnector } from '../vcenter/vcenter-connector.ts'
import { Capture } from './capture.ts'

const MIB = 1024 * 1024

let folder: string
let ledger: Ledger
let vsphere: FakeVsphere
let hub: FakeHubCalls
let readers: FakeDiskReaders
let clock: InstantClock
/** What the engine was asked for, and what it does then. */
let reads: CaptureDiskOptions[]
let onRead: (options: CaptureDiskOptions, signal?: AbortSignal) => Promise<void> | void

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sendense-capture-'))
  ledger = await Ledger.open(join(folder, 'ledger.jsonl'))
  vsphere = new FakeVsphere()
  vsphere.vms.push(aVm())
  hub = new FakeHubCalls()
  readers = new FakeDiskReaders()
  clock = new InstantClock()
  reads = []
  onRead = () => {}
})
afterEach(async () => {
  await ledger[Symbol.asyncDispose]()
  await rm(folder, { recursive: true })
})

const REPORT: CaptureDiskReport = {
  ...{ logicalBytes: 64 * MIB, changedBytes: 65_536, plannedBytes: MIB, readBytes: MIB, zeroBytes: 0 },
  ...{ newBytes: MIB, storedBytes: 1000, durationMs: 1 },
}

function aCapture(order = anOrder()): Capture {
  const connector = new VcenterConnector({
    connect: vsphere.connect,
    fetchThumbprint: async () => vsphere.thumbprint,
    unseal: async () => JSON.stringify({ username: 'backup', password: 'right' }),
  })
  return new Capture(order, {
    vcenters: connector,
    target: { hub, hubHost: 'hub.test', hubCertificateSha256: 'ef'.repeat(32) },
    ledger,
    readers,
    captureDisk: async (options, { signal } = {}) => {
      reads.push(options)
      await onRead(options, signal)
      return REPORT
    },
    clock,
    log: memoryLog(),
  })
}

/** Whatever happened: nothing of ours is anywhere. */
function expectNothingLeft(): void {
  expect(vsphere.snapshotNames).toEqual([])
  expect(vsphere.openSessions).toBe(0)
  expect(readers.openCount).toBe(0)
  expect(ledger.entries()).toEqual([])
}

test('a first backup: the steps in order, what is allocated is read, nothing is left', async () => {
  const order = anOrder()
  const outcome = await aCapture(order).run()

  expect(outcome).toEqual({ state: 'succeeded', failure: null, leftovers: [] })
  expect(hub.steps.filter(step => step.endsWith('succeeded'))).toEqual(
    ['prepare', 'snapshot', 'read', 'commit', 'clean-up'].map(step => `${step} succeeded`),
  )
  expect(hub.calls).toEqual(['planCapture', 'beginDisk', 'commitCapture'])
  expect(hub.plan).toMatchObject({
    ...{ jobId: order.jobId, capturedAt: '2026-01-01T00:00:00.000Z', isQuiesced: false, reasons: [] },
    disks: [{ diskKey: 2000, changeId: '52 de ad/1' }],
    manifest: {
      name: 'web',
      firmware: 'efi',
      disks: [{ key: 2000, controllerType: 'pvscsi', unitNumber: 0 }],
    },
  })
  expect(hub.begun[0]).toMatchObject({
    mode: 'full',
    sizeBytes: 64 * MIB,
    reasons: [{ code: 'first-backup' }],
  })
  expect(reads).toMatchObject([
    {
      areas: { kind: 'allocated', extents: [{ offset: 0, length: 65_536 }] },
      diskKey: '2000',
      chunkBytes: MIB,
      target: { host: 'hub.test', port: 9, certificateSha256: 'ef'.repeat(32), ticket: 'ticket' },
    },
  ])
  expect(hub.committed?.disks).toEqual([
    {
      diskKey: 2000,
      bytes: {
        ...{ logicalBytes: 64 * MIB, changedBytes: 65_536, readBytes: MIB },
        ...{ newBytes: MIB, storedBytes: 1000 },
      },
    },
  ])
  expectNothingLeft()
})

test('the disk is read from the snapshot, with the certificate by its SHA-1', async () => {
  await aCapture().run()
  expect(readers.sources).toEqual([
    {
      server: {
        ...{ host: 'vc.test', port: 443, username: 'backup', password: 'right' },
        sha1Thumbprint: 'CD'.repeat(20),
      },
      vmMoRef: 'vm-1',
      snapshotMoRef: 'snapshot-1',
      file: '[ds] vm/vm_2000.vmdk',
    },
  ])
})

test('with a base only what changed is read', async () => {
  hub.baseChangeId = '52 de ad/0'
  vsphere.areas.set('52 de ad/0', [{ offset: 4096, length: 8192 }])
  await aCapture().run()
  expect(hub.begun[0]).toMatchObject({ mode: 'incremental', reasons: [] })
  expect(reads[0]?.areas).toEqual({ kind: 'changed', extents: [{ offset: 4096, length: 8192 }] })
})

test('a change id that vSphere refuses leads to a full, and says so', async () => {
  hub.baseChangeId = 'foreign'
  await aCapture().run()
  expect(hub.begun[0]).toMatchObject({
    mode: 'full',
    reasons: [{ code: 'change-id-refused', detail: expect.stringContaining('FileFault') }],
  })
  expect(reads[0]?.areas.kind).toBe('allocated')
})

test('when vSphere does not know what is allocated, everything is read, and it says so', async () => {
  vsphere.areas.clear()
  await aCapture().run()
  expect(hub.begun[0]).toMatchObject({
    mode: 'full',
    reasons: [{ code: 'first-backup' }, { code: 'allocation-unknown' }],
  })
  expect(reads[0]?.areas).toEqual({ kind: 'whole' })
})

test('a vCenter that fails while asked for areas ends the capture: that is no refusal', async () => {
  hub.baseChangeId = '52 de ad/0'
  vsphere.failNext('queryChangedAreas', vsphereError('unreachable', 'Timeout'))
  expect(await aCapture().run()).toMatchObject({ state: 'failed', failure: { code: 'vcenter-unreachable' } })
  expectNothingLeft()
})

test('tracking that was off is switched on, and an old change id is not even asked for', async () => {
  vsphere.vms[0] = aVm({ changeTrackingEnabled: false })
  hub.baseChangeId = '52 de ad/0'
  vsphere.areas.set('52 de ad/0', [])
  await aCapture().run()
  expect(vsphere.vms[0]?.changeTrackingEnabled).toBe(true)
  expect(hub.plan?.reasons).toMatchObject([{ code: 'change-tracking-enabled-now' }])
  expect(hub.begun[0]).toMatchObject({ mode: 'full', reasons: [{ code: 'change-tracking-enabled-now' }] })
  expect(reads[0]?.areas.kind).toBe('allocated')
})

test('a VM that cannot track changes is read as a whole, and says why', async () => {
  const disks = [aDisk({ changeId: undefined })]
  vsphere.vms[0] = aVm({ changeTrackingEnabled: false, changeTrackingSupported: false, disks })
  await aCapture().run()
  expect(hub.plan?.reasons).toMatchObject([{ code: 'change-tracking-unsupported' }])
  expect(hub.begun[0]?.reasons.map(reason => reason.code)).toEqual(['first-backup', 'allocation-unknown'])
  expect(reads[0]?.areas).toEqual({ kind: 'whole' })
  expect(vsphere.calls).not.toContain('queryChangedAreas')
})

test('a disk without a change id in its snapshot has no incremental, whatever the Hub remembers', async () => {
  vsphere.vms[0] = aVm({ disks: [aDisk({ changeId: undefined })] })
  hub.baseChangeId = '52 de ad/0'
  vsphere.areas.set('52 de ad/0', [])
  await aCapture().run()
  expect(hub.begun[0]?.reasons.map(reason => reason.code)).toEqual([
    'change-tracking-unsupported',
    'allocation-unknown',
  ])
})

test('independent disks and physical mappings are left out with their reasons', async () => {
  const disks = [
    aDisk(),
    aDisk({ key: 2001, isIndependent: true, diskMode: 'independent_persistent' }),
    aDisk({ key: 2002, rdmMode: 'physical', backingKind: 'rdm' }),
  ]
  vsphere.vms[0] = aVm({ disks })
  await aCapture().run()
  expect(hub.plan?.disks.map(disk => disk.diskKey)).toEqual([2000])
  expect(hub.plan?.manifest.disks.map(disk => [disk.key, disk.excluded?.code])).toEqual([
    [2000, undefined],
    [2001, 'disk-independent'],
    [2002, 'disk-unsupported'],
  ])
})

test('a VM without any disk to back up gets no snapshot', async () => {
  vsphere.vms[0] = aVm({ disks: [aDisk({ isIndependent: true })] })
  expect(await aCapture().run()).toMatchObject({ failure: { code: 'vm-nothing-to-protect' } })
  expect(vsphere.calls).not.toContain('createSnapshot')
  expectNothingLeft()
})

test('a quiesced snapshot is one', async () => {
  await aCapture(anOrder({ quiesce: true })).run()
  expect(hub.plan).toMatchObject({ isQuiesced: true, reasons: [] })
})

test('a guest that cannot be quiesced is backed up nevertheless, with the reason', async () => {
  vsphere.failNext('createSnapshot', vsphereError('other', 'ApplicationQuiesceFault'))
  const outcome = await aCapture(anOrder({ quiesce: true })).run()
  expect(outcome.state).toBe('succeeded')
  expect(hub.plan).toMatchObject({ isQuiesced: false, reasons: [{ code: 'quiesce-failed' }] })
})

test('a missing privilege is not taken for a failed quiescing', async () => {
  vsphere.failNext('createSnapshot', vsphereError('permission', 'NoPermission'))
  const outcome = await aCapture(anOrder({ quiesce: true })).run()
  expect(outcome).toMatchObject({ failure: { code: 'vcenter-permission-missing' } })
  expectNothingLeft()
})

test('a VM that another task holds is waited for', async () => {
  const busy = vsphereError('busy', 'TaskInProgress')
  vsphere.failNext('createSnapshot', busy, busy, busy)
  expect(await aCapture().run()).toMatchObject({ state: 'succeeded' })
})

test('a VM that stays busy is given up', async () => {
  vsphere.failNext(
    'createSnapshot',
    ...Array.from({ length: 200 }, () => vsphereError('busy', 'TaskInProgress')),
  )
  expect(await aCapture().run()).toMatchObject({ failure: { code: 'vcenter-busy' } })
  expectNothingLeft()
})

test.for<[string, ProblemCode, () => unknown]>([
  ['an unknown VM', 'vm-not-found', () => void vsphere.vms.splice(0)],
  ['another vCenter at the address', 'vm-not-found', () => Object.assign(vsphere, { instanceUuid: 'other' })],
  [
    'an orphaned VM',
    'vcenter-error',
    () => Object.assign(vsphere.vms, [aVm({ connectionState: 'orphaned' })]),
  ],
  ['a wrong password', 'vcenter-credentials-invalid', () => Object.assign(vsphere, { password: 'changed' })],
  [
    'a snapshot that fails',
    'snapshot-failed',
    () => vsphere.failNext('createSnapshot', vsphereError('other', 'SnapshotFault')),
  ],
  [
    'a certificate that changed after the login',
    'vcenter-certificate-mismatch',
    () => Object.assign(vsphere.thumbprint, { sha256: '00'.repeat(32) }),
  ],
])('%s ends the capture with %s', async ([_what, code, arrange]) => {
  arrange()
  expect(await aCapture().run()).toMatchObject({ state: 'failed', failure: { code } })
  expectNothingLeft()
})

test.for<[keyof VsphereSession & string]>([['findVm'], ['createSnapshot'], ['getVm'], ['snapshotDisks']])(
  'whatever fails in %s, the clean-up runs',
  async ([method]) => {
    vsphere.failNext(method, vsphereError('other', 'RuntimeFault'))
    expect(await aCapture().run()).toMatchObject({ state: 'failed', leftovers: [] })
    expect(hub.steps.at(-1)).toBe('clean-up succeeded')
    expectNothingLeft()
  },
)

test.for<[keyof HubMethods]>([['planCapture'], ['beginDisk'], ['commitCapture']])(
  'when the Hub refuses %s, its word is the failure, and the clean-up runs',
  async ([method]) => {
    hub.failNext(method, new AppError('repository-full', { detail: 'No space' }))
    expect(await aCapture().run()).toEqual({
      state: 'failed',
      failure: { code: 'repository-full', detail: 'No space' },
      leftovers: [],
    })
    expectNothingLeft()
  },
)

test.for<[string, (stop: () => void) => void]>([
  ['while the VM is looked for', stop => void vsphere.onCall.set('findVm', stop)],
  ['while the snapshot is made', stop => void vsphere.onCall.set('createSnapshot', stop)],
  ['when the snapshot stands', stop => void vsphere.onCall.set('snapshotDisks', stop)],
  ['while the Hub plans', stop => void hub.onCallOf.set('planCapture', stop)],
  ['while areas are asked for', stop => void vsphere.onCall.set('queryChangedAreas', stop)],
  [
    'while a disk is read',
    stop => {
      onRead = async (_options, signal) => {
        stop()
        if (signal?.aborted) throw new EngineError('cancelled', 'Cancelled')
      }
    },
  ],
])('a cancel %s ends as cancelled, and nothing is left', async ([_when, arrange]) => {
  const capture = aCapture()
  arrange(() => capture.cancel(new AppError('job-cancelled')))
  expect(await capture.run()).toEqual({ state: 'cancelled', failure: null, leftovers: [] })
  expect(hub.calls).not.toContain('commitCapture')
  expect(vsphere.snapshotNames).toEqual([])
  expect(vsphere.openSessions).toBe(0)
  expect(readers.openCount).toBe(0)
})

test('a cancel during the commit comes too late: the restore point may exist already', async () => {
  const capture = aCapture()
  hub.onCallOf.set('commitCapture', () => capture.cancel(new AppError('job-cancelled')))
  expect(await capture.run()).toMatchObject({ state: 'succeeded' })
})

test('a Node that is expelled during the commit does not wait for an answer that will not come', async () => {
  const capture = aCapture()
  hub.onCallOf.set('commitCapture', () => capture.cancel(new AppError('node-revoked')))
  expect(await capture.run()).toMatchObject({ state: 'failed', failure: { code: 'node-revoked' } })
  expectNothingLeft()
})

test('a stop of the Node is a failure with its own code', async () => {
  const capture = aCapture()
  onRead = () => capture.cancel(new AppError('job-interrupted', { detail: 'Stopped' }))
  expect(await capture.run()).toMatchObject({ state: 'failed', failure: { code: 'job-interrupted' } })
})

test('a snapshot whose answer was lost is found by its name and removed', async () => {
  const order = anOrder()
  vsphere.onCall.set('createSnapshot', () => {
    vsphere.addSnapshot('vm-1', { name: `sendense-${order.jobId}` })
    throw vsphereError('unreachable', 'ConnectionReset')
  })
  vsphere.addSnapshot('vm-1', { name: 'somebody else’s' })
  expect(await aCapture(order).run()).toMatchObject({
    failure: { code: 'vcenter-unreachable' },
    leftovers: [],
  })
  expect(vsphere.snapshotNames).toEqual(['somebody else’s'])
  expect(ledger.entries()).toEqual([])
})

test('a snapshot that is still being made when the answer is lost is waited for and removed', async () => {
  const order = anOrder()
  vsphere.onCall.set('createSnapshot', () => {
    const task = vsphere.addRunningCreation('vm-1', `sendense-${order.jobId}`)
    setTimeout(task.finish, 20)
    throw vsphereError('unreachable', 'ConnectionReset')
  })
  await aCapture(order).run()
  expect(vsphere.calls).toContain('waitForTask')
  expectNothingLeft()
})

test('an order without any trace is watched, but is no leftover', async () => {
  vsphere.failNext('createSnapshot', vsphereError('unreachable', 'ConnectionReset'))
  expect(await aCapture().run()).toMatchObject({ leftovers: [] })
  expect(ledger.abandoned('snapshot')).toMatchObject([{ entry: { isAnswered: false } }])
})

test('the ledger knows the snapshot before vSphere does', async () => {
  const order = anOrder()
  let known: unknown
  vsphere.onCall.set('createSnapshot', () => {
    known = ledger.entries()
  })
  await aCapture(order).run()
  expect(known).toMatchObject([
    { kind: 'snapshot', snapshotName: `sendense-${order.jobId}`, isAnswered: false, vcenter: order.vcenter },
  ])
})

test('a snapshot that cannot be removed is named, and left to the sweeper; the backup has succeeded', async () => {
  const order = anOrder()
  vsphere.failNext('removeSnapshot', vsphereError('permission', 'NoPermission'))
  expect(await aCapture(order).run()).toEqual({
    state: 'succeeded',
    failure: null,
    leftovers: [`snapshot sendense-${order.jobId} of the VM "web" (vm-1) at vc.test`],
  })
  expect(ledger.abandoned('snapshot')).toHaveLength(1)
})

test('disks that found no free connection are read alone afterwards, with a single one', async () => {
  vsphere.vms[0] = aVm({ disks: [aDisk(), aDisk({ key: 2001 }), aDisk({ key: 2002 })] })
  readers.explanations.push(new AppError('vddk-session-limit'))
  onRead = options => {
    const isFirstTry = reads.filter(read => read.diskKey === options.diskKey).length === 1
    if (options.diskKey === '2001' && isFirstTry) throw new EngineError('disk-open-failed', 'Refused')
  }
  expect(await aCapture().run()).toMatchObject({ state: 'succeeded' })
  expect(reads.map(read => [read.diskKey, read.limits?.connections])).toEqual([
    ['2000', 4],
    ['2001', 4],
    ['2002', 4],
    ['2001', 1],
  ])
  expect(hub.begun.map(disk => disk.diskKey)).toEqual([2000, 2001, 2002])
  expect(hub.committed?.disks).toHaveLength(3)
})

test('a host without any free connection fails with its own code', async () => {
  readers.explanations.push(new AppError('vddk-session-limit'), new AppError('vddk-session-limit'))
  onRead = () => {
    throw new EngineError('disk-open-failed', 'Refused')
  }
  expect(await aCapture().run()).toMatchObject({ failure: { code: 'vddk-session-limit' } })
  expect(reads).toHaveLength(2)
  expectNothingLeft()
})

test('a disk that fails ends the others', async () => {
  vsphere.vms[0] = aVm({ disks: [aDisk(), aDisk({ key: 2001 })] })
  readers.explanations.push(new AppError('disk-locked', { detail: 'Locked' }))
  const ended: string[] = []
  onRead = async ({ diskKey }, signal) => {
    if (diskKey === '2000') throw new EngineError('disk-open-failed', 'Refused')
    await new Promise(resolve => signal?.addEventListener('abort', resolve))
    ended.push(diskKey)
    throw new EngineError('cancelled', 'Cancelled')
  }
  expect(await aCapture().run()).toMatchObject({ failure: { code: 'disk-locked', detail: 'Locked' } })
  expect(ended).toEqual(['2001'])
  expectNothingLeft()
})

test('the memory of the order is shared by the disks that are read at once', async () => {
  vsphere.vms[0] = aVm({ disks: [aDisk(), aDisk({ key: 2001 })] })
  await aCapture().run()
  expect(reads.map(read => read.limits?.memoryBytesMax)).toEqual([24 * MIB, 24 * MIB])
})

test.for(BASE_TROUBLES)('a base that is refused as %s leads to a full, with the reason', async code => {
  hub.baseChangeId = '52 de ad/0'
  vsphere.areas.set('52 de ad/0', [])
  hub.failNext('beginDisk', new AppError(code))
  expect(await aCapture().run()).toMatchObject({ state: 'succeeded' })
  expect(hub.begun).toMatchObject([{ mode: 'full', reasons: [{ code }] }])
})

test('errors of the engine that the contract does not know are bugs, without details for the user', async () => {
  onRead = () => {
    throw new EngineError('base-size-differs', 'inner workings')
  }
  const outcome = await aCapture().run()
  expect(outcome.failure).toMatchObject({ code: 'internal' })
  expect(outcome.failure?.detail).not.toContain('inner')
})
