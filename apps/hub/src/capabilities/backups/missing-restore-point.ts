import type { BackupId } from '@sendense/contracts'
import { AppError, type Clock } from '@sendense/platform'
import { throwFromEngine } from '../../platform/engine/engine-problem.ts'
import type { BackupsStore } from './backups.store.ts'

/** Whether it failed because the restore point is no longer in its repository. */
export function isMissing(error: unknown): boolean {
  return AppError.is(error, 'restore-point-missing')
}

/** Works with the restore point of a backup. That it turns out to be gone is noted with the backup. */
export async function withRestorePoint<T>(
  backupId: BackupId,
  store: Pick<BackupsStore, 'markMissing'>,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work().catch(throwFromEngine)
  } catch (error) {
    if (isMissing(error)) await store.markMissing(backupId)
    throw error
  }
}

/** Reads the restore point of a backup. That it turns out to be gone or damaged is noted with the backup. */
export async function readRestorePoint<T>(
  backupId: BackupId,
  { store, clock }: { store: Pick<BackupsStore, 'markMissing' | 'markDamaged'>; clock: Pick<Clock, 'now'> },
  read: () => Promise<T>,
): Promise<T> {
  try {
    return await withRestorePoint(backupId, store, read)
  } catch (error) {
    if (AppError.is(error, 'restore-point-damaged')) await store.markDamaged(backupId, clock.now())
    throw error
  }
}
