import { BackupId } from '@sendense/contracts'
import { expect, test } from 'vitest'
import { type Base, type BaseSelection, planDisk } from './base-selection.ts'

const MIB = 1024 * 1024
const disk = { key: 2000, capacityBytes: 64 * MIB, uuid: 'u1' }
const base: Base = {
  backupId: BackupId.parse('0b84c7fd-5278-4087-832d-0b502c7929b3'),
  restorePointId: 'ab',
  chunkBytes: MIB,
  disks: [{ key: 2000, file: 'disk-2000.raw', sizeBytes: 64 * MIB, uuid: 'u1', changeId: '52 aa/7' }],
}
const selection: BaseSelection = { requestedMode: 'auto', chunkBytes: MIB, base, absence: 'first-backup' }
const [baseDisk] = base.disks

test('a disk that is as it was is read from the change id of the base', () => {
  expect(planDisk(disk, selection)).toEqual({ diskKey: 2000, baseChangeId: '52 aa/7' })
})

test.each([
  ['requested-full', disk, { requestedMode: 'full' }],
  ['first-backup', disk, { base: undefined }],
  ['restore-point-missing', disk, { base: undefined, absence: 'restore-point-missing' }],
  ['repository-settings-changed', disk, { chunkBytes: 2 * MIB }],
  ['disk-added', { ...disk, key: 2001 }, {}],
  ['disk-replaced', { ...disk, uuid: 'u2' }, {}],
  ['disk-resized', { ...disk, capacityBytes: 65 * MIB }, {}],
  ['change-id-missing', disk, { base: { ...base, disks: [{ ...baseDisk, changeId: null }] } }],
])('%s is said when the base cannot serve', (reason, changed, overrides) => {
  const plan = planDisk(changed, { ...selection, ...overrides } as BaseSelection)
  expect(plan).toEqual({ diskKey: changed.key, reason })
})

test('a disk whose uuid is not known on one side is not taken for another one', () => {
  expect(planDisk({ ...disk, uuid: null }, selection)).toHaveProperty('baseChangeId')
})
