import type { Backup as BackupView } from '@sendense/contracts'
import type { Backup } from './backups.store.ts'

/** A backup as the API shows it. */
export function viewOf({ nodeId: _nodeId, chunkBytes: _chunkBytes, ...backup }: Backup): BackupView {
  return {
    ...backup,
    capturedAt: backup.capturedAt?.toISOString() ?? null,
    startedAt: backup.startedAt.toISOString(),
    finishedAt: backup.finishedAt?.toISOString() ?? null,
    verifiedAt: backup.verifiedAt?.toISOString() ?? null,
    damagedAt: backup.damagedAt?.toISOString() ?? null,
  }
}
