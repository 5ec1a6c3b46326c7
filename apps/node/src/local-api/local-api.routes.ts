import type { EnrollmentView, healthRoutes, nodeLocalRoutes } from '@sendense/contracts'
import { AppError, type Clock, type Handlers, VERSION } from '@sendense/platform'
import type { CapturesService } from '../captures/captures.service.ts'
import type { DiscoveryService } from '../discovery/discovery.service.ts'

export interface LocalApiServices {
  readonly discovery: DiscoveryService
  readonly captures: CapturesService
  readonly enrollment: () => EnrollmentView
  /** What does not work or is left behind, in words. */
  readonly problems: () => string[]
  readonly clock: Clock
}

export function healthHandlers({ problems, clock }: LocalApiServices): Handlers<typeof healthRoutes> {
  const startedAt = clock.now().toISOString()
  return {
    getHealth: () => {
      const found = problems()
      const status = found.length === 0 ? 'ok' : 'degraded'
      return { status, problems: found, product: 'node', version: VERSION, startedAt }
    },
  }
}

export function nodeHandlers(services: LocalApiServices): Handlers<typeof nodeLocalRoutes> {
  const { discovery, captures, enrollment } = services
  return {
    getEnrollment: () => enrollment(),
    discoverVms: async ({ body }) => {
      const { host, port, username, password, thumbprint, nameContains } = body
      const address = { host, port, ...(thumbprint !== undefined && { thumbprint }) }
      return { vms: await discovery.discoverVmsWith(address, { username, password }, { nameContains }) }
    },
    getProgress: ({ params: { jobId } }) => {
      const state = captures.state(jobId)
      if (state.state !== 'unknown') return state
      throw new AppError('not-found', { detail: `This Node knows no capture of job ${jobId}` })
    },
  }
}
