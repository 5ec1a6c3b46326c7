import type { ApiMap, Route } from '@sendense/contracts'
import { AppError } from '@sendense/platform'
import type { Router } from 'express'
import { type Options, rateLimit } from 'express-rate-limit'

export interface AttemptLimits {
  /** Refused requests of one address to one route in a minute. */
  failuresPerMinute: number
  /** All requests of one address to one route in a minute. */
  requestsPerMinute: number
}

export const DEFAULT_LIMITS: AttemptLimits = { failuresPerMinute: 20, requestsPerMinute: 300 }

/** Limits the routes of the contract that can answer `too-many-requests`: those that anybody may call. */
export function limitAttempts(router: Router, api: ApiMap, limits: AttemptLimits): void {
  for (const route of Object.values(api).flatMap(routes => Object.values(routes) as Route[])) {
    if (!route.problems?.includes('too-many-requests')) continue
    router[route.method](
      route.path,
      limiter({ limit: limits.requestsPerMinute }),
      limiter({ limit: limits.failuresPerMinute, skipSuccessfulRequests: true }),
    )
  }
}

function limiter(options: Partial<Options>) {
  return rateLimit({
    windowMs: 60_000,
    standardHeaders: 'draft-8',
    legacyHeaders: false,
    // The header is not believed; without this its presence would be complained about on the console.
    validate: { xForwardedForHeader: false },
    handler: (_req, _res, next) => {
      next(new AppError('too-many-requests', { detail: 'Too many attempts. Wait a minute and try again' }))
    },
    ...options,
  })
}
