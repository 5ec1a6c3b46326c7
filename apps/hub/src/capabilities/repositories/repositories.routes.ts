import { repositoryRoutes } from '@sendense/contracts'
import { type Authenticate, bindRoutes } from '@sendense/platform'
import type { Router } from 'express'
import type { RepositoriesService } from './repositories.service.ts'

/** Binds the repositories. */
export function mountRepositories(
  router: Router,
  repositories: RepositoriesService,
  authenticate: Authenticate,
): void {
  bindRoutes(
    router,
    repositoryRoutes,
    {
      createRepository: ({ body }, { principal }) => repositories.create(principal, body),
      listRepositories: ({ query }) => repositories.list(query),
      getRepository: ({ params }) => repositories.get(params.repositoryId),
      getRepositoryStorage: ({ params }) => repositories.storage(params.repositoryId),
    },
    { authenticate },
  )
}
