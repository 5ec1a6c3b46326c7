import type { BackupId } from '@sendense/contracts'
import { AppError } from '@sendense/platform'
import { throwFromEngine } from '../../platform/engine/engine-problem.ts'
import type { BackupsStore } from './backups.store.ts'

/** Whether it failed because the restore point is no longer in its repository. */
export function isMissing(error: unknown): boolean {
  return error instanceof AppError && error.code === 'restore-point-missing'
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
