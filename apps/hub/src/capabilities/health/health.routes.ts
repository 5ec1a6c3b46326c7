import { healthRoutes } from '@sendense/contracts'
import { bindRoutes } from '@sendense/platform'
import type { Router } from 'express'
import type { HealthService } from './health.service.ts'

/** Binds the health of the Hub. */
export function mountHealth(router: Router, health: HealthService): void {
  bindRoutes(router, healthRoutes, { getHealth: () => health.get() })
}
