import type { Clock, Logger } from '@sendense/platform'
import { AppError } from '@sendense/platform'
import type { JobEnd } from '../jobs/index.ts'
import type { BackupsPorts } from './backups.ports.ts'
import type { Backup, BackupsStore } from './backups.store.ts'
import { recoverCommitted } from './recover-committed.ts'

interface Options {
  store: Pick<BackupsStore, 'get' | 'complete' | 'end'>
  jobs: Pick<BackupsPorts['jobs'], 'endOf'>
  repositories: Pick<BackupsPorts['repositories'], 'ifOpen'>
  clock: Clock
  log: Logger
}

/**
 * The backup as it is, also when its job could not say how it has ended: it was cancelled before it began, or its
 * process died and the repository could not be asked whether the restore point was made. It is asked for here again;
 * until it answers, the backup is told as ended and is not stored so.
 */
export async function settleBackup(backup: Backup, options: Options): Promise<Backup> {
  const { store, jobs } = options
  if (backup.status !== 'running') return backup
  const end = await jobs.endOf(backup.jobId)
  if (!end) return backup
  const ended = endedLike(end)
  const isMade = await isRestorePointMade(backup, options)
  if (isMade === undefined) return { ...backup, ...ended }
  if (!isMade) await store.end(backup.id, ended.status, ended.failure, ended.finishedAt)
  return (await store.get(backup.id)) ?? backup
}

function endedLike({ state, failure, finishedAt }: JobEnd) {
  if (state === 'cancelled') {
    return { status: 'cancelled' as const, failure: new AppError('job-cancelled').toFailure(), finishedAt }
  }
  return {
    status: 'failed' as const,
    failure: failure ?? new AppError('job-interrupted').toFailure(),
    finishedAt,
  }
}

/** Undefined when its repository cannot be asked now. */
async function isRestorePointMade(backup: Backup, options: Options): Promise<boolean | undefined> {
  try {
    const repository = await options.repositories.ifOpen(backup.repositoryId)
    return repository && (await recoverCommitted(backup, repository, options))
  } catch (error) {
    options.log.warn('A backup cannot be looked for in its repository', { backupId: backup.id, error })
    return undefined
  }
}
