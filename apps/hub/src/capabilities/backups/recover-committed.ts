import type { Repository } from '@sendense/engine'
import type { Clock, Logger } from '@sendense/platform'
import type { Backup, BackupsStore } from './backups.store.ts'
import { backupTag, completionOf, MANIFEST_FILE, RestorePointManifest } from './restore-point-manifest.ts'

interface Options {
  store: Pick<BackupsStore, 'complete'>
  clock: Clock
  log: Logger
}

/**
 * Looks in the repository for the restore point of a backup whose job was interrupted. When the Hub died between
 * the commit and its own record, the restore point is there and is complete: the record is made from its `vm.json`.
 * True when the backup has succeeded after all.
 */
export async function recoverCommitted(
  backup: Pick<Backup, 'id'>,
  repository: Pick<Repository, 'restorePoints' | 'readText'>,
  { store, clock, log }: Options,
): Promise<boolean> {
  const tag = backupTag(backup.id)
  const found = (await repository.restorePoints()).find(point => point.tags.includes(tag))
  if (!found) return false
  const manifest = RestorePointManifest.parse(JSON.parse(await repository.readText(found.id, MANIFEST_FILE)))
  const completion = completionOf(manifest, { restorePointId: found.id, finishedAt: clock.now() })
  log.info('A restore point was found for an interrupted backup', {
    backupId: backup.id,
    restorePointId: found.id,
  })
  return store.complete(backup.id, completion)
}
