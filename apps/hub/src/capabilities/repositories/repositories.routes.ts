import { repositoryMaintenanceRoutes, repositoryRoutes } from '@sendense/contracts'
import { type Authenticate, bindRoutes } from '@sendense/platform'
import type { Router } from 'express'
import type { Repositories } from './create-repositories.ts'

/** Binds the repositories. */
export function mountRepositories(
  router: Router,
  { service, storage, maintenance }: Repositories,
  authenticate: Authenticate,
): void {
  bindRoutes(
    router,
    repositoryRoutes,
    {
      createRepository: ({ body }, { principal }) => service.create(principal, body),
      testRepositoryPlace: ({ body }) => service.testPlace(body.place),
      listRepositories: ({ query }) => service.list(query),
      getStorageSummary: () => storage.summary(),
      refreshAllStorage: () => storage.refreshAll(),
      getRepository: ({ params }) => service.get(params.repositoryId),
      updateRepository: ({ params, body }, { principal }) =>
        service.update(principal, params.repositoryId, body),
      deleteRepository: ({ params, query }, { principal }) =>
        service.remove(principal, params.repositoryId, query),
      testRepository: ({ params }) => service.test(params.repositoryId),
      getRepositoryStorage: ({ params }) => storage.measure(params.repositoryId),
      refreshStorage: ({ params }) => storage.measure(params.repositoryId),
    },
    { authenticate },
  )
  bindRoutes(
    router,
    repositoryMaintenanceRoutes,
    {
      verifyRepository: ({ params, body }) => maintenance.verify(params.repositoryId, body),
    },
    { authenticate },
  )
}
