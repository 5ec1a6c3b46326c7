export { mountHealth } from './health.routes.ts'
export { HealthService } from './health.service.ts'
