import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { newId } from '@sendense/platform'
import { memoryLog } from '@sendense/platform/testing'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { FakeVsphere, vsphereError } from '../testing/fake-vsphere.ts'
import { InstantClock } from '../testing/instant-clock.ts'
import { anOrder, aVm } from '../testing/makers.ts'
import { VcenterConnector } from '../vcenter/vcenter-connector.ts'
import { Ledger } from './ledger.ts'
import type { SnapshotEntry } from './ledger-entry.ts'
import { describeLeftovers } from './leftovers.ts'
import { SETTLE_MS } from './remove-snapshots.ts'
import { Sweeper } from './sweeper.ts'

let folder: string
let ledger: Ledger
let vsphere: FakeVsphere
let clock: InstantClock
let connector: VcenterConnector
let sweeper: Sweeper

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sendense-sweeper-'))
  ledger = await Ledger.open(join(folder, 'ledger.jsonl'))
  vsphere = new FakeVsphere()
  vsphere.vms.push(aVm())
  clock = new InstantClock()
  connector = new VcenterConnector({
    connect: vsphere.connect,
    fetchThumbprint: async () => vsphere.thumbprint,
    // The box of a test is the password itself.
    unseal: async box => JSON.stringify({ username: 'backup', password: box === 'sealed' ? 'right' : box }),
  })
  const runDirectory = join(folder, 'run')
  await mkdir(runDirectory)
  sweeper = new Sweeper({ ledger, vcenters: connector, runDirectory, clock, log: memoryLog() })
})
afterEach(async () => {
  await ledger[Symbol.asyncDispose]()
  await rm(folder, { recursive: true })
})

/** An entry of a capture that is no more. */
async function abandonedSnapshot(over: Partial<SnapshotEntry> = {}): Promise<SnapshotEntry> {
  const { jobId, vcenter, vm } = anOrder()
  const entry: SnapshotEntry = {
    ...{ kind: 'snapshot', jobId, vcenter, vm, snapshotName: `sendense-${jobId}` },
    ...{ isAnswered: true, absentAt: null, ...over },
  }
  const record = await ledger.record(entry)
  record.abandon()
  return entry
}

test('removes the snapshot of a dead capture, and no other', async () => {
  const { snapshotName } = await abandonedSnapshot()
  vsphere.addSnapshot('vm-1', { name: 'before the upgrade' })
  vsphere.addSnapshot('vm-1', { name: snapshotName })
  vsphere.addSnapshot('vm-1', { name: `sendense-${newId()}` })
  await sweeper.sweep()
  expect(vsphere.snapshotNames).toHaveLength(2)
  expect(vsphere.snapshotNames).not.toContain(snapshotName)
  expect(ledger.entries()).toEqual([])
  expect(vsphere.openSessions).toBe(0)
})

test('does not touch what belongs to a capture that runs', async () => {
  const { jobId, vcenter, vm } = anOrder()
  const snapshotName = `sendense-${jobId}`
  await ledger.record({
    kind: 'snapshot',
    jobId,
    vcenter,
    vm,
    snapshotName,
    isAnswered: true,
    absentAt: null,
  })
  vsphere.addSnapshot('vm-1', { name: snapshotName })
  await sweeper.sweep()
  expect(vsphere.calls).toEqual([])
})

test('a snapshot that somebody removed already is done with', async () => {
  await abandonedSnapshot()
  await sweeper.sweep()
  expect(ledger.entries()).toEqual([])
})

test('a VM that is gone has taken its snapshots along', async () => {
  await abandonedSnapshot()
  vsphere.vms.splice(0)
  await sweeper.sweep()
  expect(ledger.entries()).toEqual([])
})

test('a snapshot that is just being made is waited for and removed', async () => {
  const { snapshotName } = await abandonedSnapshot({ isAnswered: false })
  const creation = vsphere.addRunningCreation('vm-1', snapshotName)
  setTimeout(creation.finish, 20)
  await sweeper.sweep()
  expect(vsphere.snapshotNames).toEqual([])
  expect(ledger.entries()).toEqual([])
})

test('an order without an answer is watched for a while, because it may still arrive', async () => {
  const { snapshotName } = await abandonedSnapshot({ isAnswered: false })
  expect(describeLeftovers(ledger)).toEqual([expect.stringContaining('may or may not exist')])
  await sweeper.sweep()
  expect(describeLeftovers(ledger)).toEqual([])
  expect(ledger.entries()).toHaveLength(1)
  vsphere.addSnapshot('vm-1', { name: snapshotName })
  await sweeper.sweep()
  expect(vsphere.snapshotNames).toEqual([])
  expect(ledger.entries()).toEqual([])
})

test('an order that never arrived is forgotten in the end', async () => {
  await abandonedSnapshot({ isAnswered: false })
  await sweeper.sweep()
  await clock.sleep(SETTLE_MS)
  await sweeper.sweep()
  expect(ledger.entries()).toEqual([])
})

test('a vCenter that does not answer is tried again, with pauses, until it does', async () => {
  const { snapshotName } = await abandonedSnapshot()
  vsphere.addSnapshot('vm-1', { name: snapshotName })
  vsphere.failNext('connect', ...Array.from({ length: 5 }, () => vsphereError('unreachable', 'Timeout')))
  await sweeper.sweep()
  await sweeper.sweep()
  expect(vsphere.calls).toEqual(['connect'])
  expect(describeLeftovers(ledger)).toEqual([expect.stringContaining(snapshotName)])

  await sweeper.start()
  await vi.waitFor(() => expect(vsphere.snapshotNames).toEqual([]))
  await sweeper.stop()
})

test('a refused password is not tried again for an hour: it could lock the account', async () => {
  await abandonedSnapshot()
  vsphere.password = 'changed'
  await sweeper.sweep()
  await clock.sleep(59 * 60_000)
  await sweeper.sweep()
  expect(vsphere.calls.filter(call => call === 'connect')).toHaveLength(1)
  await clock.sleep(60_000)
  await sweeper.sweep()
  expect(vsphere.calls.filter(call => call === 'connect')).toHaveLength(2)
})

test('a new password that the Hub has sent meanwhile is used at once', async () => {
  const { vcenter, snapshotName } = await abandonedSnapshot()
  vsphere.addSnapshot('vm-1', { name: snapshotName })
  vsphere.password = 'changed'
  await sweeper.sweep()
  await using _session = await connector.connect({ ...vcenter, sealedCredentials: 'changed' })
  await sweeper.sweep()
  expect(vsphere.snapshotNames).toEqual([])
})

test('a snapshot that cannot be removed does not keep the next one', async () => {
  const [stays, goes] = [await abandonedSnapshot(), await abandonedSnapshot()]
  for (const { snapshotName } of [stays, goes]) vsphere.addSnapshot('vm-1', { name: snapshotName })
  vsphere.failNext('removeSnapshot', vsphereError('permission', 'NoPermission'))
  await sweeper.sweep()
  expect(vsphere.snapshotNames).toEqual([stays.snapshotName])
})

test('one snapshot that cannot be removed does not keep the readers', async () => {
  const { snapshotName, jobId } = await abandonedSnapshot()
  vsphere.addSnapshot('vm-1', { name: snapshotName })
  vsphere.failNext('removeSnapshot', vsphereError('permission', 'NoPermission'))
  const directory = join(folder, 'run', 'a')
  await mkdir(directory)
  const reader = await ledger.record({ kind: 'disk-reader', jobId, directory, process: null })
  reader.abandon()
  await sweeper.sweep()
  expect(await readdir(join(folder, 'run'))).toEqual([])
  expect(describeLeftovers(ledger, jobId)).toEqual([expect.stringContaining(snapshotName)])
})

test('what lies in the run directory and in no entry is removed at the start', async () => {
  const { jobId } = anOrder()
  const kept = join(folder, 'run', 'kept')
  for (const path of [kept, join(folder, 'run', 'stray')]) await mkdir(path)
  const reader = await ledger.record({ kind: 'disk-reader', jobId, directory: kept, process: null })
  reader.abandon()
  await sweeper.clearRunDirectory()
  expect(await readdir(join(folder, 'run'))).toEqual(['kept'])
})
