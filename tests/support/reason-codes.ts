import type { Backup } from '@sendense/contracts'

/** Why each disk was read as it was, by device key; an empty list where there is nothing to explain. */
export function reasonCodes(backup: Backup): Record<number, string[]> {
  return Object.fromEntries(
    backup.disks.map(disk => [disk.key, disk.reasons.map(reason => reason.code).toSorted()]),
  )
}
