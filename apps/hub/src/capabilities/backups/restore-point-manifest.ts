import {
  BackupDisk,
  BackupId,
  Instant,
  JobId,
  NodeId,
  Reason,
  sumOfBytes,
  VcenterId,
  VmId,
  VmManifest,
} from '@sendense/contracts'
import { z } from 'zod'
import type { BackupCompletion } from './backups.store.ts'

/** Name of the file inside the restore point. */
export const MANIFEST_FILE = 'vm.json'

/**
 * What stands beside the disks in every restore point, for whoever has only the repository: the VM, its disks,
 * and how they were read. Described in docs/design/repository-format.md; fields are only ever added.
 */
export const RestorePointManifest = z.object({
  format: z.literal('sendense-restore-point'),
  version: z.literal(1),
  backupId: BackupId,
  jobId: JobId,
  vmId: VmId,
  vcenterId: VcenterId,
  nodeId: NodeId,
  baseBackupId: BackupId.nullable(),
  chunkBytes: z.int(),
  startedAt: Instant,
  capturedAt: Instant,
  isQuiesced: z.boolean(),
  vm: VmManifest,
  disks: z.array(BackupDisk),
  skippedDisks: z.array(z.object({ key: z.int(), label: z.string(), reason: Reason })),
  reasons: z.array(Reason),
  tags: z.record(z.string(), z.string()),
})
export type RestorePointManifest = z.output<typeof RestorePointManifest>

/** The tag by which the restore point of a backup is found again. */
export function backupTag(id: BackupId): string {
  return `sendense-backup=${id}`
}

/** Path of a disk's file in its restore point. */
export function diskFile(key: number): string {
  return `disk-${key}.raw`
}

/** How the backup ended, as its restore point tells it. */
export function completionOf(
  manifest: RestorePointManifest,
  { restorePointId, finishedAt }: { restorePointId: string; finishedAt: Date },
): BackupCompletion {
  return {
    restorePointId,
    finishedAt,
    baseBackupId: manifest.baseBackupId,
    mode: manifest.disks.every(disk => disk.mode === 'incremental') ? 'incremental' : 'full',
    capturedAt: new Date(manifest.capturedAt),
    isQuiesced: manifest.isQuiesced,
    disks: manifest.disks,
    skippedDisks: manifest.skippedDisks,
    reasons: manifest.reasons,
    bytes: sumOfBytes(manifest.disks.map(disk => disk.bytes)),
  }
}
