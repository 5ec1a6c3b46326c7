import type {
  JobKind,
  RepositoryId,
  StartedRepositoryJob,
  VerifyRepositoryRequest,
} from '@sendense/contracts'
import type { JobsService } from '../jobs/index.ts'
import type { VerifyRepositoryInput } from './repositories.jobs.ts'
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
