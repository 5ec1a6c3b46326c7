import { z } from 'zod'
import { JobId } from './jobs.ts'
import { RepositoryId, RepositoryParams } from './repositories.ts'
import { defineRoutes } from './route.ts'

export const StartedRepositoryJob = z
  .object({
    jobId: JobId.meta({ description: 'Follow it with GET /progress/{jobId}' }),
    repositoryId: RepositoryId.meta({ description: 'The repository that the job works on' }),
  })
  .meta({ id: 'StartedRepositoryJob' })
export type StartedRepositoryJob = z.output<typeof StartedRepositoryJob>

export const VerifyScope = z.enum(['structure', 'all']).meta({
  id: 'VerifyScope',
  description: '`structure`: packs, index and restore points fit together. `all`: and every byte is read',
})

export type VerifyScope = z.output<typeof VerifyScope>

export const VerifyRepositoryRequest = z
  .object({ scope: VerifyScope.default('structure') })
  .meta({ id: 'VerifyRepositoryRequest' })
export type VerifyRepositoryRequest = z.output<typeof VerifyRepositoryRequest>

export const repositoryMaintenanceRoutes = defineRoutes({
  verifyRepository: {
    method: 'post',
    path: '/repositories/:repositoryId/verify',
    summary: 'Verify a repository: its structure, or all of its bytes',
    permission: 'repositories:maintain',
    status: 202,
    params: RepositoryParams,
    body: VerifyRepositoryRequest,
    response: StartedRepositoryJob,
    problems: ['not-found', 'job-already-running', 'repository-disabled', 'repository-unavailable'],
  },
})
