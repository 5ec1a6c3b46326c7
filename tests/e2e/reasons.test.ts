import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Backup, RepositoryId, Vm } from '@sendense/contracts'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CliSession } from '../support/cli-session.ts'
import { disableChangeTracking } from '../support/foreign-tool.ts'
import type { LabVmSpec } from '../support/lab-inventory.ts'
import { noise } from '../support/noise.ts'
import { reasonCodes } from '../support/reason-codes.ts'
import { restic } from '../support/restic.ts'
import { guestHashes, restoredHashes } from '../support/restored-disks.ts'
import { type Stage, startStage } from '../support/stage.ts'

const MIB = 1024 * 1024
/** What the change of a few bytes makes the Node read: a chunk of the default size. */
const CHUNK_BYTES = MIB / 4
const [FIRST, SECOND] = [2000, 2001]

/** One VM per case, so that no case depends on another. */
const VMS = [
  'off',
  'switched-off',
  'reset',
  'expired',
  'added',
  'grown',
  'replaced',
  'forgotten',
  'damaged',
  'asked',
  'unquiesced',
  'untracked',
] as const
type Name = (typeof VMS)[number]

let stage: Stage
let cli: CliSession
beforeAll(async () => {
  const disks = [{ sizeBytes: 12 * MIB }, { sizeBytes: 8 * MIB + 512 }]
  const vms: LabVmSpec[] = VMS.map(name => ({
    name,
    disks,
    changeTracking: name !== 'off' && name !== 'untracked',
  }))
  vms.push({
    name: 'independent',
    disks: [{ sizeBytes: 8 * MIB }, { sizeBytes: 8 * MIB, mode: 'independent_persistent' }],
    changeTracking: true,
  })
  stage = await startStage({ lab: { vms } })
  cli = await CliSession.logIn(stage.hub)
})
afterAll(() => stage?.[Symbol.asyncDispose]())

test('changed block tracking that was off is enabled, and the next backup is incremental', async () => {
  const vm = await addVm('off')
  const full = await backUpAndCompare(vm)
  expect(full).toMatchObject({ mode: 'full', reasons: [{ code: 'change-tracking-enabled-now' }] })
  expect(reasonCodes(full)).toEqual({ [FIRST]: ['first-backup'], [SECOND]: ['first-backup'] })
  await expectIncremental(vm)
})

test('tracking that somebody switched off in between has a gap: its old change ids are not trusted', async () => {
  const vm = await addVm('switched-off')
  const before = await backUpAndCompare(vm)
  await disableChangeTracking(stage.lab, vm.moRef)
  await stage.lab.control.write({ vm: vm.moRef, key: FIRST }, 5 * MIB, noise(MIB, 'unseen'))
  const after = await backUpAndCompare(vm)
  expect(reasonCodes(after)).toEqual({
    [FIRST]: ['change-tracking-enabled-now'],
    [SECOND]: ['change-tracking-enabled-now'],
  })
  expect(after).toMatchObject({ mode: 'full', baseBackupId: null })
  // Known chunks are not stored again, whatever had to be read.
  expect(after.bytes.newBytes).toBeLessThanOrEqual(2 * MIB)
  expect(before.bytes.newBytes).toBeGreaterThanOrEqual(3 * MIB)
  await expectIncremental(vm)
})

test('change ids of a tracking that was reset are refused by vSphere, and that is said', async () => {
  const vm = await addVm('reset')
  await backUpAndCompare(vm)
  await stage.lab.control.cbtReset(vm.moRef)
  const after = await backUpAndCompare(vm)
  expect(reasonCodes(after)).toEqual({ [FIRST]: ['change-id-refused'], [SECOND]: ['change-id-refused'] })
  expect(after.disks[0]?.reasons[0]?.detail).toContain('FileFault')
  expect(after.mode).toBe('full')
  await expectIncremental(vm)
})

test('a change id that has grown too old is refused as well', async () => {
  const vm = await addVm('expired')
  await backUpAndCompare(vm)
  for (let count = 0; count < 33; count += 1) {
    await stage.lab.control.removeSnapshot(await stage.lab.control.userSnapshot(vm.moRef, `other ${count}`))
  }
  const after = await backUpAndCompare(vm)
  expect(reasonCodes(after)).toEqual({ [FIRST]: ['change-id-refused'], [SECOND]: ['change-id-refused'] })
  await expectIncremental(vm)
})

test('a disk that was added is read in full, the others are not', async () => {
  const vm = await addVm('added')
  const before = await backUpAndCompare(vm)
  const key = await stage.lab.control.addDisk(vm.moRef, { sizeBytes: 8 * MIB })
  await stage.lab.control.write({ vm: vm.moRef, key }, MIB, noise(2 * MIB, 'added'))
  const after = await backUpAndCompare(vm)
  expect(reasonCodes(after)).toEqual({ [FIRST]: [], [SECOND]: [], [key]: ['disk-added'] })
  expect(after.disks.map(disk => disk.mode)).toEqual(['incremental', 'incremental', 'full'])
  expect(after).toMatchObject({ mode: 'full', baseBackupId: before.id })
  await expectIncremental(vm)
})

test('a disk that has grown is read in full', async () => {
  const vm = await addVm('grown')
  await backUpAndCompare(vm)
  await stage.lab.control.resize({ vm: vm.moRef, key: SECOND }, 9 * MIB + 1536)
  await stage.lab.control.write({ vm: vm.moRef, key: SECOND }, 9 * MIB, noise(1536, 'tail'))
  const after = await backUpAndCompare(vm)
  expect(reasonCodes(after)).toEqual({ [FIRST]: [], [SECOND]: ['disk-resized'] })
  expect(after.disks[1]).toMatchObject({ sizeBytes: 9 * MIB + 1536, mode: 'full' })
  await expectIncremental(vm)
})

test('another disk under the same device key is not taken for the old one', async () => {
  const vm = await addVm('replaced')
  await backUpAndCompare(vm)
  await stage.lab.control.removeDisk({ vm: vm.moRef, key: SECOND })
  expect(await stage.lab.control.addDisk(vm.moRef, { sizeBytes: 8 * MIB + 512 })).toBe(SECOND)
  await stage.lab.control.write({ vm: vm.moRef, key: SECOND }, 0, noise(MIB, 'another'))
  const after = await backUpAndCompare(vm)
  expect(reasonCodes(after)).toEqual({ [FIRST]: [], [SECOND]: ['disk-replaced'] })
  await expectIncremental(vm)
})

test('a restore point that stock restic removed is no base: an older one is, or none', async () => {
  const vm = await addVm('forgotten')
  const oldest = await backUpAndCompare(vm)
  await stage.lab.control.write({ vm: vm.moRef, key: FIRST }, 0, noise(MIB, 'second'))
  const newest = await backUpAndCompare(vm)
  await restic(stage, 'forget', newest.restorePointId ?? '')
  await stage.lab.control.write({ vm: vm.moRef, key: FIRST }, 6 * MIB, noise(MIB, 'third'))

  const third = await backUpAndCompare(vm)
  expect(third).toMatchObject({
    ...{ mode: 'incremental', baseBackupId: oldest.id },
    reasons: [{ code: 'restore-point-missing', detail: expect.stringContaining('is gone') }],
  })
  expect(reasonCodes(third)).toEqual({ [FIRST]: [], [SECOND]: [] })
  const params = { backupId: newest.id }
  expect(await stage.admin.backups.getBackup({ params })).toMatchObject({ status: 'missing' })
  await expect(stage.admin.backups.restoreDisk({ params, body: { diskKey: FIRST } })).rejects.toMatchObject({
    problem: { code: 'restore-point-missing' },
  })

  for (const { restorePointId } of [oldest, third]) await restic(stage, 'forget', restorePointId ?? '')
  const last = await backUpAndCompare(vm)
  expect(last).toMatchObject({ mode: 'full', baseBackupId: null })
  expect(reasonCodes(last)).toEqual({
    [FIRST]: ['restore-point-missing'],
    [SECOND]: ['restore-point-missing'],
  })
  await expectIncremental(vm)
})

test('a restore point of which something was lost is no base, and what was lost is stored again', async () => {
  const vm = await addVm('damaged')
  const place = { type: 'local', path: stage.hub.dir.join('lossy') } as const
  const made = await stage.admin.repositories.createRepository({ body: { name: 'lossy', place } })
  const repositoryId = made.repository.id
  const lost = await backUpAndCompare(vm, { repositoryId })
  await rm(join(place.path, 'data'), { recursive: true })
  await mkdir(join(place.path, 'data'))
  const lossy = { path: place.path, password: made.password ?? '' }
  await restic({ hub: stage.hub, repository: lossy }, 'rebuild-index')

  const full = await backUpAndCompare(vm, { repositoryId })
  expect(full).toMatchObject({ mode: 'full', bytes: { newBytes: lost.bytes.newBytes } })
  expect(reasonCodes(full)).toEqual({
    [FIRST]: ['restore-point-damaged'],
    [SECOND]: ['restore-point-damaged'],
  })
  const { damagedAt } = await stage.admin.backups.getBackup({ params: { backupId: lost.id } })
  expect(damagedAt).not.toBeNull()
  expect(await backUpAndCompare(vm, { repositoryId })).toMatchObject({ mode: 'incremental', reasons: [] })
})

test('a full read that was asked for is one', async () => {
  const vm = await addVm('asked')
  await backUpAndCompare(vm)
  const full = await backUpAndCompare(vm, { mode: 'full' })
  expect(full).toMatchObject({ mode: 'full', baseBackupId: null })
  expect(reasonCodes(full)).toEqual({ [FIRST]: ['requested-full'], [SECOND]: ['requested-full'] })
  expect(full.bytes.newBytes).toBe(0)
})

test('a guest that cannot be quiesced is backed up as it is, and that is said', async () => {
  const vm = await addVm('unquiesced')
  const object = vm.moRef
  const fault = { method: 'CreateSnapshot_Task', fault: 'ApplicationQuiesceFault', inTask: true }
  await stage.lab.control.fault({ ...fault, object, count: 1 })
  const backup = await backUpAndCompare(vm, { quiesce: true })
  expect(backup).toMatchObject({ isQuiesced: false, reasons: [{ code: 'quiesce-failed' }] })
  const next = await backUpAndCompare(vm, { quiesce: true })
  expect(next).toMatchObject({ isQuiesced: true, reasons: [], mode: 'incremental' })
})

test('where tracking cannot be had the whole disk is read, each time, with both reasons', async () => {
  const vm = await addVm('untracked')
  await stage.lab.control.fault({ method: 'ReconfigVM_Task', fault: 'InvalidState', object: vm.moRef })
  for (const why of ['first-backup', 'change-id-missing']) {
    const backup = await backUpAndCompare(vm)
    expect(backup).toMatchObject({ mode: 'full', reasons: [{ code: 'change-tracking-unsupported' }] })
    const codes = ['allocation-unknown', why].toSorted()
    expect(reasonCodes(backup)).toEqual({ [FIRST]: codes, [SECOND]: codes })
  }
  await stage.lab.control.clearFaults()
})

test('an independent disk is left out, and that is said', async () => {
  const vm = await addVm('independent')
  const backup = await backUpAndCompare(vm)
  expect(backup.disks.map(disk => disk.key)).toEqual([FIRST])
  expect(backup.skippedDisks).toMatchObject([{ key: SECOND, reason: { code: 'disk-independent' } }])
  expect(await cli.text('backup', 'show', backup.id)).toContain('is not in this backup')
})

test('stock restic finds no error in what all this has left', async () => {
  expect(await restic(stage, 'check', '--read-data')).toContain('no errors were found')
})

/** A VM with something on its first two disks. */
async function addVm(name: Name | 'independent'): Promise<Vm> {
  const vm = await stage.addVm(name)
  const disk = { vm: vm.moRef, key: FIRST }
  await stage.lab.control.write(disk, 3 * MIB + 100, noise(2 * MIB, name))
  await stage.lab.control.write({ ...disk, key: SECOND }, 0, noise(MIB, `${name} second`))
  return vm
}

/** Backs up, and expects the disks back as they are now; API and command line tell the same. */
async function backUpAndCompare(
  vm: Vm,
  options?: { mode?: 'auto' | 'full'; quiesce?: boolean; repositoryId?: RepositoryId },
): Promise<Backup> {
  const backup = await stage.backUpWell(vm, options)
  const keys = backup.disks.map(disk => disk.key)
  expect(keys.length).toBeGreaterThan(0)
  expect(await restoredHashes(stage, backup)).toEqual(await guestHashes(stage, vm, keys))
  expect(await cli.json('backup', 'show', backup.id)).toEqual(backup)
  for (const disk of backup.disks)
    expect(disk.mode === 'full', 'a full has its reason').toBe(disk.reasons.length > 0)
  return backup
}

/** Whatever happened before: the next backup reads what changed and nothing else. */
async function expectIncremental(vm: Vm): Promise<void> {
  await stage.lab.control.write({ vm: vm.moRef, key: FIRST }, 9 * MIB, noise(64 * 1024, vm.name))
  const backup = await backUpAndCompare(vm)
  expect(backup).toMatchObject({ mode: 'incremental', reasons: [] })
  expect(backup.disks.flatMap(disk => disk.reasons)).toEqual([])
  expect(backup.bytes.readBytes).toBe(CHUNK_BYTES)
}
