import type {
  BackupId,
  ForgetRestorePointsRequest,
  RepositoryId,
  StartedRepositoryJob,
} from '@sendense/contracts'
import type { Logger, Principal } from '@sendense/platform'
import { throwFromEngine } from '../../platform/engine/engine-problem.ts'
import type { JobsService } from '../jobs/index.ts'
import type { BackupsPorts } from './backups.ports.ts'
import type { BackupsService } from './backups.service.ts'
import type { BackupsStore } from './backups.store.ts'
import type { ForgetInput } from './forget-restore-points.ts'

interface Options {
  store: BackupsStore
  jobs: Pick<JobsService, 'start'>
  backups: Pick<BackupsService, 'findRestorePoint'>
  repositories: BackupsPorts['repositories']
  log: Logger
}

/** What happens to restore points after they were made: they are kept by rules, and removed. */
export class RestorePointsService {
  readonly #options: Options

  constructor(options: Options) {
    this.#options = options
  }

  /** Removes a restore point from its repository. Its bytes go with the next prune. */
  async remove(principal: Principal, id: BackupId): Promise<void> {
    const { store, backups, repositories, log } = this.#options
    const { backup, restorePointId } = await backups.findRestorePoint(id)
    const { repository } = await repositories.open(backup.repositoryId)
    await repository.forget(restorePointId).catch(throwFromEngine)
    await store.markForgotten(id)
    repositories.measureSoon(backup.repositoryId)
    log.info('A restore point was removed', { backupId: id, restorePointId, by: principal.name })
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
