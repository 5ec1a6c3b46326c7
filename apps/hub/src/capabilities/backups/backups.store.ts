import type {
  BackupDisk,
  BackupId,
  BackupStatus,
  Backup as BackupView,
  ByteCounters,
  CaptureMode,
  Failure,
  JobId,
  NodeId,
  Page,
  PageQuery,
  Reason,
  RepositoryId,
  VmId,
} from '@sendense/contracts'
import { AppError } from '@sendense/platform'

/** A backup as the Hub keeps it. */
export interface Backup {
  id: BackupId
  jobId: JobId
  vmId: VmId
  vmName: string
  repositoryId: RepositoryId
  nodeId: NodeId
  status: BackupStatus
  restorePointId: string | null
  baseBackupId: BackupId | null
  /** Size of the chunks that its disks are cut into; a base with another size cannot serve. */
  chunkBytes: number
  mode: CaptureMode | null
  capturedAt: Date | null
  isQuiesced: boolean
  startedAt: Date
  finishedAt: Date | null
  disks: BackupDisk[]
  skippedDisks: BackupView['skippedDisks']
  reasons: Reason[]
  bytes: ByteCounters
  failure: Failure | null
  verifiedAt: Date | null
  /** When it was first found that not all of it can be read. */
  damagedAt: Date | null
  /** The backup in another repository that this is a copy of. */
  copyOf: BackupId | null
  tags: Record<string, string>
}

export interface BackupFilter {
  vmId?: VmId | undefined
  repositoryId?: RepositoryId | undefined
  status?: BackupStatus | undefined
}

/** How a running backup ends well. */
export type BackupCompletion = Pick<
  Backup,
  | 'restorePointId'
  | 'baseBackupId'
  | 'mode'
  | 'capturedAt'
  | 'isQuiesced'
  | 'finishedAt'
  | 'disks'
  | 'skippedDisks'
  | 'reasons'
  | 'bytes'
>

export interface BackupsStore {
  /** Adds a backup; does nothing when it is there already. */
  add(backup: Backup): Promise<void>
  get(id: BackupId): Promise<Backup | undefined>
  /** Newest first. */
  list(query: PageQuery & BackupFilter): Promise<Page<Backup>>
  /** All `succeeded` backups of a VM in a repository, oldest capture first. */
  chain(vmId: VmId, repositoryId: RepositoryId): Promise<Backup[]>
  /** All `succeeded` backups in a repository, newest first. */
  listSucceeded(repositoryId: RepositoryId): Promise<Backup[]>
  /** All copies of a backup, whatever has become of them, oldest first. */
  listCopies(id: BackupId): Promise<Backup[]>
  /**
   * Turns a running backup into a succeeded one, with its disks, in one transaction. False when it does not run. Fails
   * with `conflict` when another backup has this restore point: removing one of both would take it from the other.
   */
  complete(id: BackupId, completion: BackupCompletion): Promise<boolean>
  /** Turns a running backup into a failed or cancelled one. False when it does not run. */
  end(id: BackupId, status: 'failed' | 'cancelled', failure: Failure, finishedAt: Date): Promise<boolean>
  /** Notes that the restore point of a succeeded backup is gone. */
  markMissing(id: BackupId): Promise<void>
  /** Notes that the Hub has removed its restore point. */
  markForgotten(id: BackupId): Promise<void>
  /**
   * Notes that all of it was read back between two moments. What had been found wrong with it before is so no more; what
   * was found meanwhile outweighs the reading.
   */
  markVerified(id: BackupId, reading: { startedAt: Date; finishedAt: Date }): Promise<void>
  /** Notes that not all of it can be read. The last time counts: a reading that began before it outweighs nothing. */
  markDamaged(id: BackupId, at: Date): Promise<void>
}

/** The restore point is in this repository as that of another backup. */
export function hasOwner(id: BackupId): AppError {
  return new AppError('conflict', {
    detail: `This restore point is in that repository already, as backup ${id}.`,
  })
}
