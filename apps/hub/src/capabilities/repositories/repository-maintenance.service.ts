import type {
  JobKind,
  PruneRepositoryRequest,
  RepairRepositoryRequest,
  RepositoryId,
  StartedRepositoryJob,
  VerifyRepositoryRequest,
} from '@sendense/contracts'
import { AppError } from '@sendense/platform'
import { throwFromEngine } from '../../platform/engine/engine-problem.ts'
import type { JobsService } from '../jobs/index.ts'
import type { PruneInput, RepairInput, VerifyRepositoryInput } from './repositories.jobs.ts'
import type { RepositoriesService } from './repositories.service.ts'

interface Options {
  repositories: Pick<RepositoriesService, 'find' | 'open'>
  jobs: Pick<JobsService, 'start'>
}

/** What keeps repositories healthy. The long work is done by the jobs of `repositories.jobs.ts`. */
export class RepositoryMaintenanceService {
  readonly #options: Options

  constructor(options: Options) {
    this.#options = options
  }

  verify(repositoryId: RepositoryId, request: VerifyRepositoryRequest): Promise<StartedRepositoryJob> {
    const input: VerifyRepositoryInput = { ...request, repositoryId }
    return this.#start('repository-verify', `repository-verify:${repositoryId}`, input)
  }

  prune(repositoryId: RepositoryId, request: PruneRepositoryRequest): Promise<StartedRepositoryJob> {
    const input: PruneInput = { ...request, repositoryId }
    return this.#start('repository-prune', changeKey(repositoryId), input)
  }

  async repair(repositoryId: RepositoryId, request: RepairRepositoryRequest): Promise<StartedRepositoryJob> {
    const { sourceRepositoryId } = request
    if (sourceRepositoryId === repositoryId) {
      throw new AppError('conflict', { detail: 'A repository cannot be repaired from itself.' })
    }
    if (sourceRepositoryId) await this.#options.repositories.open(sourceRepositoryId)
    const input: RepairInput = { ...request, repositoryId }
    return this.#start('repository-repair', changeKey(repositoryId), input)
  }

  async locks(id: RepositoryId) {
    const { repository } = await this.#options.repositories.open(id)
    const locks = await repository.locks().catch(throwFromEngine)
    const byAge = [...locks].sort((one, other) => one.createdAt.getTime() - other.createdAt.getTime())
    return { locks: byAge.map(lock => ({ ...lock, createdAt: lock.createdAt.toISOString() })) }
  }

  async removeStaleLocks(id: RepositoryId) {
    const { repository } = await this.#options.repositories.open(id)
    return { removedCount: await repository.removeStaleLocks().catch(throwFromEngine) }
  }

  /** Fails here and now, while somebody listens, when the repository cannot be opened. */
  async #start(
    kind: JobKind,
    lockKey: string,
    input: { repositoryId: RepositoryId },
  ): Promise<StartedRepositoryJob> {
    const { repositoryId } = input
    const { name } = await this.#options.repositories.find(repositoryId)
    await this.#options.repositories.open(repositoryId)
    const job = { kind, subject: name, subjectId: repositoryId, lockKey, input }
    return { jobId: await this.#options.jobs.start(job), repositoryId }
  }
}

/** One at a time rewrites the packs of a repository. */
function changeKey(id: RepositoryId): string {
  return `repository-change:${id}`
}
