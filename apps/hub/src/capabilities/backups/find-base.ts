import { type Reason, type ReasonCode, reasonOf } from '@sendense/contracts'
import type { Repository } from '@sendense/engine'
import type { Backup, BackupsStore } from './backups.store.ts'
import type { Base } from './base-selection.ts'

/**
 * The newest restore point of the VM that the repository really has and that is not known to be damaged. An older one
 * serves just as well, since change ids stay comparable. Ones that somebody removed are marked as missing on the way. The
 * reasons say why newer ones do not serve.
 */
export async function findBase(
  store: BackupsStore,
  { vmId, repositoryId }: Pick<Backup, 'vmId' | 'repositoryId'>,
  repository: Pick<Repository, 'restorePointIds'>,
): Promise<{ base: Base | undefined; reasons: Reason[] }> {
  const candidates = (await store.chain(vmId, repositoryId)).reverse()
  if (candidates.length === 0) return { base: undefined, reasons: [] }
  const present = new Set(await repository.restorePointIds())
  const reasons: Reason[] = []
  for (const backup of candidates) {
    const { restorePointId, damagedAt } = backup
    if (restorePointId === null || !present.has(restorePointId)) {
      await store.markMissing(backup.id)
      reasons.push(reasonOf('restore-point-missing', `${nameOf(backup)} is gone.`))
    } else if (damagedAt !== null) {
      reasons.push(reasonOf('restore-point-damaged', `${nameOf(backup)} is damaged.`))
    } else return { base: baseOf(backup, restorePointId), reasons }
  }
  return { base: undefined, reasons }
}

/** Why there is no base, given what `findBase` told. */
export function absenceOf(reasons: readonly Reason[]): ReasonCode {
  const codes: readonly ReasonCode[] = ['restore-point-missing', 'restore-point-damaged']
  return reasons.find(({ code }) => codes.includes(code))?.code ?? 'first-backup'
}

function baseOf({ id, chunkBytes, disks }: Backup, restorePointId: string): Base {
  return { backupId: id, restorePointId, chunkBytes, disks }
}

function nameOf({ restorePointId, capturedAt }: Backup): string {
  return `Restore point ${restorePointId?.slice(0, 8)} of ${capturedAt?.toISOString()}`
}
