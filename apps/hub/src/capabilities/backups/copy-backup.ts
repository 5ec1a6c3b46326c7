import { BackupId, type ByteCounters, type JobId, NO_BYTES, RepositoryId } from '@sendense/contracts'
import type { CopiedRestorePoint, CopyReport } from '@sendense/engine'
import { AppError } from '@sendense/platform'
import { z } from 'zod'
import type { Backup, BackupCompletion } from './backups.store.ts'

/** What a copy job is started with. */
export const CopyInput = z.object({
  backupId: BackupId,
  sourceBackupId: BackupId,
  repositoryId: RepositoryId,
  targetRepositoryId: RepositoryId,
  restorePointId: z.string(),
})
export type CopyInput = z.output<typeof CopyInput>

/**
 * The record of a copy that has been asked for. A copy is a backup of its own in the other repository: it is
 * verified, restored, kept by rules and removed like any other, and can be the base of the next incremental one there.
 */
export function newCopy(
  source: Backup,
  { backupId, sourceBackupId, targetRepositoryId }: CopyInput,
  { jobId, startedAt }: { jobId: JobId; startedAt: Date },
): Backup {
  return {
    ...source,
    id: backupId,
    jobId,
    repositoryId: targetRepositoryId,
    status: 'running',
    restorePointId: null,
    baseBackupId: null,
    startedAt,
    finishedAt: null,
    disks: [],
    bytes: NO_BYTES,
    failure: null,
    verifiedAt: null,
    damagedAt: null,
    copyOf: sourceBackupId,
  }
}

/** How a copy ended well: the same disks, and what was done to bring them there. */
export function copyCompletion(
  source: Backup,
  report: CopyReport,
  { restorePointId, bytes, finishedAt }: { restorePointId: string; bytes: ByteCounters; finishedAt: Date },
): BackupCompletion {
  const { mode, capturedAt, isQuiesced, skippedDisks, reasons } = source
  return {
    ...{ restorePointId, mode, capturedAt, isQuiesced, finishedAt, skippedDisks, reasons },
    baseBackupId: null,
    // What was copied is not told apart by disk.
    disks: source.disks.map(disk => ({ ...disk, bytes: { ...NO_BYTES, logicalBytes: disk.sizeBytes } })),
    bytes: { ...bytes, newBytes: report.copiedBytes, storedBytes: report.storedBytes },
  }
}

/** What has become of the restore point that was to be copied. */
export function targetOf({ points }: CopyReport, restorePointId: string): CopiedRestorePoint {
  const point = points.find(one => one.sourceId === restorePointId)
  if (!point) throw new AppError('internal', { cause: new Error('The engine copied another restore point') })
  return point
}
