import { type Reason, reasonOf } from '@sendense/contracts'
import type { Repository } from '@sendense/engine'
import type { Backup, BackupsStore } from './backups.store.ts'
import type { Base } from './base-selection.ts'

/**
 * The newest restore point of the VM that the repository really has. Ones that somebody removed are marked as
 * missing on the way: an older one serves just as well, since change ids stay comparable.
 */
export async function findBase(
  store: BackupsStore,
  { vmId, repositoryId }: Pick<Backup, 'vmId' | 'repositoryId'>,
  repository: Pick<Repository, 'restorePoints'>,
): Promise<{ base: Base | undefined; isBaseMissing: boolean; reasons: Reason[] }> {
  const candidates = (await store.chain(vmId, repositoryId)).reverse()
  if (candidates.length === 0) return { base: undefined, isBaseMissing: false, reasons: [] }
  const present = new Set((await repository.restorePoints()).map(point => point.id))
  const missing: Backup[] = []
  for (const backup of candidates) {
    const { restorePointId } = backup
    if (restorePointId !== null && present.has(restorePointId)) {
      return {
        base: baseOf(backup, restorePointId),
        isBaseMissing: false,
        reasons: missing.map(missingReason),
      }
    }
    await store.markMissing(backup.id)
    missing.push(backup)
  }
  return { base: undefined, isBaseMissing: true, reasons: missing.map(missingReason) }
}

function baseOf({ id, chunkBytes, disks }: Backup, restorePointId: string): Base {
  return { backupId: id, restorePointId, chunkBytes, disks }
}

function missingReason({ restorePointId, capturedAt }: Backup): Reason {
  return reasonOf(
    'restore-point-missing',
    `Restore point ${restorePointId?.slice(0, 8)} of ${capturedAt?.toISOString()} is gone.`,
  )
}
