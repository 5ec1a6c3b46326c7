import type { BackupId, DiskPlan, ReasonCode } from '@sendense/contracts'

/** An earlier restore point of the same VM in the same repository, and it is known to exist there. */
export interface Base {
  backupId: BackupId
  restorePointId: string
  chunkBytes: number
  disks: readonly {
    key: number
    file: string
    sizeBytes: number
    uuid: string | null
    changeId: string | null
  }[]
}

/** A disk as it is in the snapshot that was just taken. */
export interface SnapshotDisk {
  key: number
  capacityBytes: number
  uuid: string | null
}

export interface BaseSelection {
  requestedMode: 'auto' | 'full'
  /** Chunk size of this capture. */
  chunkBytes: number
  base: Base | undefined
  /** Why there is none, if there is none. */
  absence: ReasonCode
}

/**
 * Decides whether changed areas of a disk can be relative to the base. The change id and the content that is
 * taken over come from the same restore point, always: there is only one object to take them from.
 */
export function planDisk(disk: SnapshotDisk, selection: BaseSelection): DiskPlan {
  const found = findBaseDisk(disk, selection)
  return typeof found === 'string'
    ? { diskKey: disk.key, reason: found }
    : { diskKey: disk.key, baseChangeId: found.changeId }
}

function findBaseDisk(
  disk: SnapshotDisk,
  { requestedMode, chunkBytes, base, absence }: BaseSelection,
): ReasonCode | { changeId: string } {
  if (requestedMode === 'full') return 'requested-full'
  if (!base) return absence
  if (base.chunkBytes !== chunkBytes) return 'repository-settings-changed'
  const before = base.disks.find(one => one.key === disk.key)
  if (!before) return 'disk-added'
  if (before.uuid !== null && disk.uuid !== null && before.uuid !== disk.uuid) return 'disk-replaced'
  if (before.sizeBytes !== disk.capacityBytes) return 'disk-resized'
  if (before.changeId === null) return 'change-id-missing'
  return { changeId: before.changeId }
}
