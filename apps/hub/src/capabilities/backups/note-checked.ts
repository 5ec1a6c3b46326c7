import type { Clock } from '@sendense/platform'
import type { RepositoryCheck } from '../repositories/index.ts'
import type { BackupsStore } from './backups.store.ts'

/** Who tells what checks of repositories find, before their jobs end. */
export interface CheckNews {
  onChecked(listener: (found: RepositoryCheck) => Promise<void>): void
}

/**
 * Notes with each backup what a check of its repository found: that not all of it can be read, or, where every byte was
 * read, that all of it can. What was made while it went on is left as it is.
 */
export async function noteChecked(
  { repositoryId, reading, damagedRestorePoints }: RepositoryCheck,
  {
    store,
    clock,
  }: {
    store: Pick<BackupsStore, 'listSucceeded' | 'markDamaged' | 'markVerified'>
    clock: Pick<Clock, 'now'>
  },
): Promise<void> {
  const damaged = new Set(damagedRestorePoints.map(({ id }) => id))
  // One that somebody has removed was not looked at.
  const read = new Set(reading?.restorePointIds)
  for (const { id, restorePointId, finishedAt } of await store.listSucceeded(repositoryId)) {
    if (restorePointId === null || finishedAt === null) continue
    if (damaged.has(restorePointId)) await store.markDamaged(id, clock.now())
    else if (reading && read.has(restorePointId) && finishedAt < reading.startedAt)
      await store.markVerified(id, { startedAt: reading.startedAt, finishedAt: clock.now() })
  }
}
