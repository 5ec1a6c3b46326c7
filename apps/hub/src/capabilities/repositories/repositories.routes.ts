import { repositoryMaintenanceRoutes, repositoryRoutes } from '@sendense/contracts'
import { type Authenticate, bindRoutes } from '@sendense/platform'
import type { Router } from 'express'
import type { Repositories } from './create-repositories.ts'

/** Binds the repositories. */
export function mountRepositories(
  router: Router,
  { service, storage, maintenance, keys }: Repositories,
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
      getRepositoryStatistics: ({ params }) => storage.statistics(params.repositoryId),
      verifyRepository: ({ params, body }) => maintenance.verify(params.repositoryId, body),
      pruneRepository: ({ params, body }) => maintenance.prune(params.repositoryId, body),
      repairRepository: ({ params, body }) => maintenance.repair(params.repositoryId, body),
      listRepositoryKeys: ({ params }) => keys.list(params.repositoryId),
      addRepositoryKey: ({ params, body }, { principal }) =>
        keys.add(principal, params.repositoryId, body.password),
      removeRepositoryKey: ({ params }, { principal }) =>
        keys.remove(principal, params.repositoryId, params.keyId),
      changeRepositoryPassword: ({ params, body }, { principal }) =>
        keys.changePassword(principal, params.repositoryId, body.password),
      listRepositoryLocks: ({ params }) => maintenance.locks(params.repositoryId),
      removeStaleLocks: ({ params }) => maintenance.removeStaleLocks(params.repositoryId),
    },
    { authenticate },
  )
}
