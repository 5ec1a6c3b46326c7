import { BackupId } from '@sendense/contracts'
import { EngineError, type EngineErrorCode } from '@sendense/engine'
import { newId } from '@sendense/platform'
import { expect, test } from 'vitest'
import { readRestorePoint } from './missing-restore-point.ts'

const backupId = BackupId.parse(newId())
const clock = { now: () => new Date(7) }

test.each<[EngineErrorCode, unknown[]]>([
  ['restore-point-damaged', ['damaged', backupId, new Date(7)]],
  ['restore-point-missing', ['missing', backupId]],
  ['storage-unreachable', []],
])('what a read that ends with %s tells about the restore point is noted', async (code, expected) => {
  const noted: unknown[] = []
  const store = {
    markDamaged: async (id: BackupId, at: Date) => void noted.push('damaged', id, at),
    markMissing: async (id: BackupId) => void noted.push('missing', id),
  }
  const read = () => Promise.reject(new EngineError(code, 'It cannot be read'))
  await expect(readRestorePoint(backupId, { store, clock }, read)).rejects.toMatchObject({ code })
  expect(noted).toEqual(expected)
})
