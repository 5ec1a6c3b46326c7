import {
  type BackupId,
  BackupId as BackupIdSchema,
  type ForgetRestorePointsRequest,
  type RepositoryId,
  type StartedJob,
  type StartedRepositoryJob,
} from '@sendense/contracts'
import { AppError, type Clock, type Logger, newId, type Principal } from '@sendense/platform'
import { throwFromEngine } from '../../platform/engine/engine-problem.ts'
import type { JobsService } from '../jobs/index.ts'
import { viewOf } from './backup-view.ts'
import type { BackupsPorts } from './backups.ports.ts'
import type { BackupsService } from './backups.service.ts'
import type { BackupsStore } from './backups.store.ts'
import { type CopyInput, newCopy } from './copy-backup.ts'
import type { ForgetInput } from './forget-restore-points.ts'

interface Options {
  store: BackupsStore
  jobs: Pick<JobsService, 'start'>
  backups: Pick<BackupsService, 'find' | 'findRestorePoint'>
  repositories: BackupsPorts['repositories']
  clock: Clock
  log: Logger
}

/** What happens to restore points after they were made: they are copied, kept by rules, and removed. */
export class RestorePointsService {
  readonly #options: Options

  constructor(options: Options) {
    this.#options = options
  }

  /** A backup, and until when its restore point is protected. */
  async details(id: BackupId) {
    const backup = await this.#options.backups.find(id)
    const { status, restorePointId, repositoryId } = backup
    const until =
      status === 'succeeded' && restorePointId !== null
        ? await this.#options.repositories.protectedUntil(repositoryId, restorePointId)
        : null
    return { ...viewOf(backup), protectedUntil: until?.toISOString() ?? null }
  }

  /** Removes a restore point from its repository. Its bytes go with the next prune. */
  async remove(principal: Principal, id: BackupId): Promise<void> {
    const { store, backups, repositories, clock, log } = this.#options
    const { backup, restorePointId } = await backups.findRestorePoint(id)
    const { repository } = await repositories.open(backup.repositoryId)
    const until = (await repository.protection(restorePointId).catch(throwFromEngine))?.until ?? null
    if (until !== null && until > clock.now()) {
      const detail = `The storage protects this restore point until ${until.toISOString()}.`
      throw new AppError('storage-protected', { detail })
    }
    await repository.forget(restorePointId).catch(throwFromEngine)
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
    const copies = await store.listCopies(sourceId)
    const isThere = source.repositoryId === repositoryId || copies.some(one => isAt(one, repositoryId))
    if (isThere)
      throw new AppError('conflict', { detail: 'This restore point is in that repository already.' })
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
    const lockKey = `copy:${sourceId}:${repositoryId}`
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

function isAt(copy: { repositoryId: RepositoryId; status: string }, repositoryId: RepositoryId): boolean {
  return copy.repositoryId === repositoryId && copy.status === 'succeeded'
}
