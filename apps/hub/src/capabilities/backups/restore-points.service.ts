import {
  type BackupId,
  BackupId as BackupIdSchema,
  type ForgetRestorePointsRequest,
  type RepositoryId,
  type StartedJob,
  type StartedRepositoryJob,
} from '@sendense/contracts'
import type { Repository } from '@sendense/engine'
import { AppError, type Clock, type Logger, newId, type Principal } from '@sendense/platform'
import { throwFromEngine } from '../../platform/engine/engine-problem.ts'
import type { JobsService } from '../jobs/index.ts'
import { viewOf } from './backup-view.ts'
import type { BackupsPorts } from './backups.ports.ts'
import type { BackupsService } from './backups.service.ts'
import { type Backup, type BackupsStore, hasOwner } from './backups.store.ts'
import { type CopyInput, newCopy } from './copy-backup.ts'
import type { ForgetInput } from './forget-restore-points.ts'
import { isMissing } from './missing-restore-point.ts'

interface Options {
  store: BackupsStore
  jobs: Pick<JobsService, 'start'>
  backups: Pick<BackupsService, 'find' | 'findRestorePoint'>
  repositories: BackupsPorts['repositories']
  clock: Clock
  log: Logger
}

const NOT_PROTECTED = { protectedUntil: null, protectionUnknown: null }

/** What happens to restore points after they were made: they are copied, kept by rules, and removed. */
export class RestorePointsService {
  readonly #options: Options

  constructor(options: Options) {
    this.#options = options
  }

  /** A backup, and until when its restore point is protected. Shown also when the storage cannot say that. */
  async details(id: BackupId) {
    const backup = await this.#options.backups.find(id)
    const { status, restorePointId, repositoryId } = backup
    if (status !== 'succeeded' || restorePointId === null) return { ...viewOf(backup), ...NOT_PROTECTED }
    try {
      const until = await this.#options.repositories.protectedUntil(repositoryId, restorePointId)
      return { ...viewOf(backup), ...NOT_PROTECTED, protectedUntil: until?.toISOString() ?? null }
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      return { ...viewOf(backup), ...NOT_PROTECTED, protectionUnknown: error.toFailure() }
    }
  }

  /** Removes a restore point from its repository. Its bytes go with the next prune. */
  async remove(principal: Principal, id: BackupId): Promise<void> {
    const { store, backups, repositories, clock, log } = this.#options
    const { backup, restorePointId } = await backups.findRestorePoint(id)
    const { repository } = await repositories.open(backup.repositoryId)
    try {
      await forgetUnprotected(repository, restorePointId, clock)
    } catch (error) {
      // Somebody else was faster, or this Hub before it died: what was asked for is done.
      if (!isMissing(error)) throw error
    }
    await store.markForgotten(id)
    repositories.measureSoon(backup.repositoryId)
    log.info('A restore point was removed', { backupId: id, restorePointId, by: principal.name })
  }

  async copies(id: BackupId) {
    await this.#options.backups.find(id)
    return { copies: (await this.#options.store.listCopies(id)).map(viewOf) }
  }

  async copy(sourceId: BackupId, repositoryId: RepositoryId): Promise<StartedJob> {
    const { store, jobs, backups, repositories, clock } = this.#options
    const { backup: source, restorePointId } = await backups.findRestorePoint(sourceId)
    const there = (await store.chain(source.vmId, repositoryId)).find(one => isSameCapture(one, source))
    if (there) throw hasOwner(there.id)
    await repositories.open(source.repositoryId)
    await repositories.open(repositoryId)
    const backupId = BackupIdSchema.parse(newId())
    const input: CopyInput = {
      backupId,
      sourceBackupId: sourceId,
      repositoryId: source.repositoryId,
      targetRepositoryId: repositoryId,
      restorePointId,
    }
    const lockKey = `copy:${source.vmId}:${source.capturedAt?.toISOString()}:${repositoryId}`
    const subject = source.vmName
    const jobId = await jobs.start({ kind: 'copy', subject, subjectId: backupId, lockKey, input })
    // The job adds it too when it runs; whoever asks before that shall find it.
    await store.add(newCopy(source, input, { jobId, startedAt: clock.now() }))
    return { jobId, backupId }
  }

  /** Removes what no rule keeps, or tells what would be removed. */
  async forget(
    repositoryId: RepositoryId,
    request: ForgetRestorePointsRequest,
  ): Promise<StartedRepositoryJob> {
    const { jobs, repositories } = this.#options
    const { name } = await repositories.open(repositoryId)
    const input: ForgetInput = { ...request, repositoryId }
    const lockKey = `forget:${repositoryId}`
    const job = { kind: 'forget', subject: name, subjectId: repositoryId, lockKey, input } as const
    return { jobId: await jobs.start(job), repositoryId }
  }
}

/** Whether both hold what was captured at one moment: one is a copy of the other, or both are of a third. */
function isSameCapture(one: Backup, other: Backup): boolean {
  return one.vmId === other.vmId && one.capturedAt?.getTime() === other.capturedAt?.getTime()
}

async function forgetUnprotected(
  repository: Repository,
  restorePointId: string,
  clock: Clock,
): Promise<void> {
  const until = (await repository.protection(restorePointId).catch(throwFromEngine))?.until ?? null
  if (until !== null && until > clock.now()) {
    const detail = `The storage protects this restore point until ${until.toISOString()}.`
    throw new AppError('storage-protected', { detail })
  }
  await repository.forget(restorePointId).catch(throwFromEngine)
}
