import { authRoutes } from './auth.ts'
import { backupRoutes } from './backups.ts'
import { enrollmentRoutes } from './enrollment.ts'
import { healthRoutes } from './health.ts'
import { inventoryRoutes, vcenterRoutes } from './inventory.ts'
import { jobRoutes } from './jobs.ts'
import { repositoryRoutes } from './repositories.ts'
import { repositoryMaintenanceRoutes } from './repository-maintenance.ts'

export * from './auth.ts'
export * from './backups.ts'
export * from './enrollment.ts'
export * from './health.ts'
export * from './inventory.ts'
export * from './jobs.ts'
export * from './node/node-api.ts'
export * from './node/tunnel.ts'
export * from './page.ts'
export * from './permission.ts'
export * from './problem.ts'
export * from './reason.ts'
export * from './repositories.ts'
export * from './repository-maintenance.ts'
export * from './repository-place.ts'
export * from './retention.ts'
export * from './route.ts'

/** Root of all paths of the Hub and of the Node. */
export const API_ROOT = '/api/v1'

/** The whole API of the Hub: one entry a capability. */
export const hubApi = {
  health: healthRoutes,
  auth: authRoutes,
  enrollment: enrollmentRoutes,
  vcenters: vcenterRoutes,
  inventory: inventoryRoutes,
  repositories: { ...repositoryRoutes, ...repositoryMaintenanceRoutes },
  backups: backupRoutes,
  jobs: jobRoutes,
}
export type HubApi = typeof hubApi
