import type { Health } from '@sendense/contracts'
import { VERSION } from '@sendense/platform'

export interface HealthOptions {
  startedAt: Date
  /** Each tells what is wrong with one part, in words that anybody may read: the route is public. */
  checks: readonly (() => Promise<readonly string[]>)[]
}

/** Whether the Hub works. */
export class HealthService {
  readonly #options: HealthOptions

  constructor(options: HealthOptions) {
    this.#options = options
  }

  async get(): Promise<Health> {
    const { startedAt, checks } = this.#options
    const problems = (await Promise.all(checks.map(check => check()))).flat()
    return {
      status: problems.length === 0 ? 'ok' : 'degraded',
      problems,
      product: 'hub',
      version: VERSION,
      startedAt: startedAt.toISOString(),
    }
  }
}
