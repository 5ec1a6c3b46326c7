import { z } from 'zod'
import { VmId } from './inventory.ts'
import { ByteCounters, JobId } from './jobs.ts'
import { Bytes, Instant, PageQuery, pageOf } from './page.ts'
import { Failure } from './problem.ts'
import { Reason } from './reason.ts'
import { RepositoryId, RepositoryParams } from './repositories.ts'
import { StartedRepositoryJob } from './repository-maintenance.ts'
import { KeepReason, ProtectedUntil, RetentionRules, TimeZone } from './retention.ts'
import { defineRoutes } from './route.ts'

export const BackupId = z.uuid().brand<'BackupId'>()
export type BackupId = z.output<typeof BackupId>

export const BackupStatus = z
  .enum(['running', 'succeeded', 'failed', 'cancelled', 'missing', 'forgotten'])
  .meta({
    id: 'BackupStatus',
    description:
      '`missing`: it succeeded, but its restore point is gone from the repository. `forgotten`: it was removed by the Hub',
  })
export type BackupStatus = z.output<typeof BackupStatus>

/** How a disk was read: only what changed since its base, or everything that is allocated. */
export const CaptureMode = z.enum(['incremental', 'full']).meta({ id: 'CaptureMode' })
export type CaptureMode = z.output<typeof CaptureMode>

export const BackupDisk = z
  .object({
    key: z.int().meta({ description: 'Device key of the disk in vSphere' }),
    label: z.string().meta({ description: 'Label in vSphere' }),
    file: z.string().meta({ description: 'Path of the disk inside the restore point' }),
    sizeBytes: Bytes.meta({ description: 'Size of the disk' }),
    uuid: z.string().nullable().meta({ description: 'UUID of its backing' }),
    mode: CaptureMode,
    reasons: z
      .array(Reason)
      .meta({ description: 'Why it was not read incrementally, or what else was not as asked' }),
    changeId: z.string().nullable().meta({ description: 'Change id that the next incremental starts from' }),
    bytes: ByteCounters,
  })
  .meta({ id: 'BackupDisk' })
export type BackupDisk = z.output<typeof BackupDisk>

export const Backup = z
  .object({
    id: BackupId.meta({ description: 'Id of the backup' }),
    jobId: JobId.meta({ description: 'Job that made it' }),
    vmId: VmId.meta({ description: 'VM that it is of' }),
    vmName: z.string().meta({ description: 'Name of the VM at that time' }),
    repositoryId: RepositoryId.meta({ description: 'Repository that holds it' }),
    status: BackupStatus,
    restorePointId: z
      .string()
      .nullable()
      .meta({ description: 'Snapshot id inside the repository, as restic shows it' }),
    baseBackupId: BackupId.nullable().meta({
      description: 'Backup whose change ids it was read against; every restore point is complete by itself',
    }),
    mode: CaptureMode.nullable().meta({ description: '`incremental` when every disk was; null until known' }),
    capturedAt: Instant.nullable().meta({
      description: 'When the vSphere snapshot was taken: the time it brings back',
    }),
    isQuiesced: z.boolean().meta({ description: 'Whether the guest was quiesced' }),
    startedAt: Instant.meta({ description: 'When the backup was asked for' }),
    finishedAt: Instant.nullable().meta({ description: 'When it ended' }),
    disks: z.array(BackupDisk).meta({ description: 'Its disks' }),
    skippedDisks: z
      .array(
        z
          .object({
            key: z.int().meta({ description: 'Device key of the disk in vSphere' }),
            label: z.string().meta({ description: 'Label in vSphere' }),
            reason: Reason,
          })
          .meta({ id: 'SkippedDisk' }),
      )
      .meta({ description: 'Disks that are not in it, and why' }),
    reasons: z.array(Reason).meta({ description: 'What was not as asked, beyond single disks' }),
    bytes: ByteCounters,
    failure: Failure.nullable().meta({ description: 'Why it failed' }),
    verifiedAt: Instant.nullable().meta({
      description: 'When all its bytes were last read back and matched',
    }),
    damagedAt: Instant.nullable().meta({
      description:
        'When it was last found that not all of it can be read; null when nothing is known of that, or when it has been mended',
    }),
    copyOf: BackupId.nullable().meta({ description: 'Backup in another repository that this is a copy of' }),
    tags: z.record(z.string(), z.string()).meta({ description: 'Labels given by the caller' }),
  })
  .meta({ id: 'Backup' })
export type Backup = z.output<typeof Backup>

export const BackupDetails = Backup.extend({
  protectedUntil: ProtectedUntil,
  protectionUnknown: Failure.nullable().meta({
    description: 'Why the storage could not be asked for the protection; null when it was',
  }),
}).meta({ id: 'BackupDetails' })
export type BackupDetails = z.output<typeof BackupDetails>

export const StartBackupRequest = z
  .object({
    vmId: VmId.meta({ description: 'Which VM' }),
    repositoryId: RepositoryId.meta({ description: 'Where to' }),
    mode: z
      .enum(['auto', 'full'])
      .default('auto')
      .meta({ description: '`auto`: incremental where possible; `full`: read everything' }),
    quiesce: z
      .boolean()
      .default(false)
      .meta({ description: 'Quiesce the guest; when that fails, go on and say so' }),
    bytesPerSecondMax: z
      .int()
      .min(64 * 1024)
      .optional()
      .meta({ description: 'How fast the Node sends to the Hub at most, all disks together' }),
    tags: z
      .record(z.string().min(1).max(50), z.string().max(200))
      .default({})
      .meta({ description: 'Labels to keep with the backup' }),
  })
  .meta({ id: 'StartBackupRequest' })
export type StartBackupRequest = z.output<typeof StartBackupRequest>

export const StartedJob = z
  .object({
    jobId: JobId.meta({ description: 'Follow it with GET /progress/{jobId}' }),
    backupId: BackupId.meta({ description: 'The backup that the job is about' }),
  })
  .meta({ id: 'StartedJob' })
export type StartedJob = z.output<typeof StartedJob>

export const RestoreDiskRequest = z
  .object({
    diskKey: z.int().meta({ description: 'Which disk, by device key' }),
    path: z
      .string()
      .min(1)
      .max(500)
      .optional()
      .meta({ description: 'Path below the restore directory of the Hub; a name is made up when absent' }),
    overwrite: z.boolean().default(false).meta({ description: 'Replace a file that is there' }),
  })
  .meta({ id: 'RestoreDiskRequest' })
export type RestoreDiskRequest = z.output<typeof RestoreDiskRequest>

export const BackupChain = z
  .object({
    vmId: VmId.meta({ description: 'The VM' }),
    repositoryId: RepositoryId.meta({ description: 'The repository' }),
    backups: z.array(Backup).meta({ description: 'The restore points of the VM there, oldest first' }),
    totals: ByteCounters.meta({ description: 'Sum over them' }),
  })
  .meta({ id: 'BackupChain' })

export const ChangeIdView = z
  .object({
    vmId: VmId.meta({ description: 'The VM' }),
    repositoryId: RepositoryId.meta({ description: 'The repository' }),
    diskKey: z.int().meta({ description: 'Device key of the disk' }),
    changeId: z.string().meta({ description: 'Change id that the next incremental starts from' }),
    backupId: BackupId.meta({ description: 'Backup that recorded it' }),
  })
  .meta({ id: 'ChangeId' })

export const CopyBackupRequest = z
  .object({ repositoryId: RepositoryId.meta({ description: 'Repository that the copy goes to' }) })
  .meta({ id: 'CopyBackupRequest' })

export const ForgetRestorePointsRequest = z
  .object({
    rules: RetentionRules.meta({ description: 'Which ones stay' }),
    vmIds: z.array(VmId).min(1).optional().meta({ description: 'Only of these VMs; all when absent' }),
    tags: z
      .record(z.string(), z.string())
      .default({})
      .meta({ description: 'Only backups that carry all these labels' }),
    timeZone: TimeZone,
    dryRun: z.boolean().default(false).meta({ description: 'Only tell which ones would go' }),
  })
  .meta({ id: 'ForgetRestorePointsRequest' })
export type ForgetRestorePointsRequest = z.output<typeof ForgetRestorePointsRequest>

/** What a `forget` job has as its result: each restore point that the rules looked at, and why it stays or goes. */
export const ForgetReport = z.object({
  isDryRun: z.boolean(),
  removedCount: z.int(),
  keptCount: z.int(),
  /** Restore points in the repository that no backup of this Hub made: left alone. */
  unknownCount: z.int(),
  restorePoints: z.array(
    z.object({
      backupId: BackupId,
      vmId: VmId,
      vmName: z.string(),
      restorePointId: z.string(),
      capturedAt: Instant,
      isKept: z.boolean(),
      /** Empty for one that goes: no rule keeps it. */
      reasons: z.array(KeepReason),
      protectedUntil: ProtectedUntil,
    }),
  ),
})
export type ForgetReport = z.output<typeof ForgetReport>

const BackupParams = z.object({ backupId: BackupId.meta({ description: 'Id of the backup' }) })
const OfVm = {
  vmId: VmId.meta({ description: 'Which VM' }),
  repositoryId: RepositoryId.meta({ description: 'In which repository' }),
}

export const backupRoutes = defineRoutes({
  startBackup: {
    method: 'post',
    path: '/backups',
    summary: 'Back up all disks of a VM from one vSphere snapshot',
    permission: 'backups:write',
    status: 202,
    body: StartBackupRequest,
    response: StartedJob,
    problems: [
      'not-found',
      'node-unreachable',
      'job-already-running',
      'vm-nothing-to-protect',
      'repository-disabled',
      'repository-unavailable',
    ],
  },
  listBackups: {
    method: 'get',
    path: '/backups',
    summary: 'List backups, newest first',
    permission: 'backups:read',
    query: PageQuery.extend({
      vmId: VmId.optional().meta({ description: 'Only of this VM' }),
      repositoryId: RepositoryId.optional().meta({ description: 'Only in this repository' }),
      status: BackupStatus.optional().meta({ description: 'Only in this status' }),
    }),
    response: pageOf('BackupPage', Backup),
  },
  getBackupChain: {
    method: 'get',
    path: '/backups/chain',
    summary: 'List the restore points of a VM in one repository, oldest first',
    permission: 'backups:read',
    query: z.object(OfVm),
    response: BackupChain,
    problems: ['not-found'],
  },
  getChangeId: {
    method: 'get',
    path: '/backups/changeid',
    summary: 'Get the change id that the next incremental of a disk starts from',
    permission: 'backups:read',
    query: z.object({
      ...OfVm,
      diskKey: z.coerce.number().int().meta({ description: 'Device key of the disk' }),
    }),
    response: ChangeIdView,
    problems: ['not-found'],
  },
  getBackup: {
    method: 'get',
    path: '/backups/:backupId',
    summary: 'Get one backup',
    permission: 'backups:read',
    params: BackupParams,
    response: BackupDetails,
    problems: ['not-found'],
  },
  deleteBackup: {
    method: 'delete',
    path: '/backups/:backupId',
    summary: 'Remove the restore point of a backup; its bytes go with the next prune',
    permission: 'backups:delete',
    params: BackupParams,
    problems: [
      'not-found',
      'conflict',
      'storage-protected',
      'restore-point-missing',
      'repository-disabled',
      'repository-unavailable',
    ],
  },
  listBackupCopies: {
    method: 'get',
    path: '/backups/:backupId/copies',
    summary: 'List the copies of a backup, oldest first',
    permission: 'backups:read',
    params: BackupParams,
    response: z
      .object({ copies: z.array(Backup).meta({ description: 'Each is a backup in another repository' }) })
      .meta({ id: 'BackupCopies' }),
    problems: ['not-found'],
  },
  copyBackup: {
    method: 'post',
    path: '/backups/:backupId/copy',
    summary: 'Copy the restore point of a backup to another repository, and verify it there',
    permission: 'backups:copy',
    status: 202,
    params: BackupParams,
    body: CopyBackupRequest,
    response: StartedJob,
    problems: [
      'not-found',
      'conflict',
      'job-already-running',
      'restore-point-missing',
      'repository-disabled',
      'repository-unavailable',
    ],
  },
  forgetRestorePoints: {
    method: 'post',
    path: '/repositories/:repositoryId/forget',
    summary: 'Remove the restore points that no rule keeps; never one that is protected',
    permission: 'backups:delete',
    status: 202,
    params: RepositoryParams,
    body: ForgetRestorePointsRequest,
    response: StartedRepositoryJob,
    problems: ['not-found', 'job-already-running', 'repository-disabled', 'repository-unavailable'],
  },
  verifyBackup: {
    method: 'post',
    path: '/backups/:backupId/verify',
    summary: 'Read every byte of a restore point back and compare the hashes',
    permission: 'backups:verify',
    status: 202,
    params: BackupParams,
    response: StartedJob,
    problems: ['not-found', 'conflict', 'restore-point-missing', 'repository-unavailable'],
  },
  restoreDisk: {
    method: 'post',
    path: '/backups/:backupId/restore',
    summary: 'Restore a whole disk to a raw file on the Hub',
    permission: 'backups:restore',
    status: 202,
    params: BackupParams,
    body: RestoreDiskRequest,
    response: StartedJob,
    problems: [
      'not-found',
      'conflict',
      'restore-target-invalid',
      'restore-target-exists',
      'restore-point-missing',
      'repository-unavailable',
    ],
  },
})
