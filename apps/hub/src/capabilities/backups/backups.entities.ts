import type { BackupDisk, BackupId, CaptureMode } from '@sendense/contracts'
import { EntitySchema } from 'typeorm'
import { columns } from '../../platform/database/index.ts'
import type { Backup } from './backups.store.ts'

const { bigInt, bool, id, instant, int, json, named, text } = columns

export type BackupRow = Omit<Backup, 'disks'>

export interface BackupDiskRow
  extends Pick<BackupDisk, 'label' | 'file' | 'sizeBytes' | 'uuid' | 'reasons' | 'changeId'> {
  backupId: BackupId
  diskKey: number
  mode: CaptureMode
  logicalBytes: number
  changedBytes: number
  readBytes: number
  newBytes: number
  storedBytes: number
}

const restrict = (target: string, column: string) => ({
  target,
  columnNames: [column],
  referencedColumnNames: ['id'],
  onDelete: 'RESTRICT' as const,
  onUpdate: 'NO ACTION' as const,
})

export const BackupEntity = new EntitySchema<BackupRow>({
  name: 'Backup',
  tableName: 'backups',
  columns: {
    id: id({ primary: true }),
    jobId: named('job_id', id()),
    vmId: named('vm_id', id()),
    vmName: named('vm_name', text(255)),
    repositoryId: named('repository_id', id()),
    nodeId: named('node_id', id()),
    status: text(16),
    restorePointId: named('restore_point_id', text(64, { nullable: true })),
    baseBackupId: named('base_backup_id', id({ nullable: true })),
    chunkBytes: named('chunk_bytes', int()),
    mode: text(16, { nullable: true }),
    capturedAt: named('captured_at', instant({ nullable: true })),
    isQuiesced: named('is_quiesced', bool()),
    startedAt: named('started_at', instant()),
    finishedAt: named('finished_at', instant({ nullable: true })),
    skippedDisks: named('skipped_disks', json()),
    reasons: json(),
    bytes: json(),
    failure: json({ nullable: true }),
    verifiedAt: named('verified_at', instant({ nullable: true })),
    damagedAt: named('damaged_at', instant({ nullable: true })),
    copyOf: named('copy_of', id({ nullable: true })),
    tags: json(),
  },
  indices: [
    { name: 'ix_backups_vm', columns: ['vmId', 'repositoryId', 'status'] },
    { name: 'ix_backups_job', columns: ['jobId'] },
  ],
  foreignKeys: [restrict('Vm', 'vmId'), restrict('Repository', 'repositoryId'), restrict('Node', 'nodeId')],
})

export const BackupDiskEntity = new EntitySchema<BackupDiskRow>({
  name: 'BackupDisk',
  tableName: 'backup_disks',
  columns: {
    backupId: named('backup_id', id({ primary: true })),
    diskKey: named('disk_key', int({ primary: true })),
    label: text(190),
    file: text(190),
    sizeBytes: named('size_bytes', bigInt()),
    uuid: text(64, { nullable: true }),
    mode: text(16),
    reasons: json(),
    changeId: named('change_id', text(190, { nullable: true })),
    logicalBytes: named('logical_bytes', bigInt()),
    changedBytes: named('changed_bytes', bigInt()),
    readBytes: named('read_bytes', bigInt()),
    newBytes: named('new_bytes', bigInt()),
    storedBytes: named('stored_bytes', bigInt()),
  },
  foreignKeys: [restrict('Backup', 'backupId')],
})

export const BackupEntities = [BackupEntity, BackupDiskEntity]
