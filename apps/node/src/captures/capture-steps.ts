import type { CaptureStep, JobId } from '@sendense/contracts'
import type { Clock } from '@sendense/platform'
import type { HubCalls } from '../hub-link/hub-calls.ts'

/** Runs the steps of a capture one after the other, and tells the Hub where it stands. */
export class CaptureSteps {
  readonly #jobId: JobId
  readonly #hub: HubCalls
  readonly #clock: Clock
  #current: CaptureStep | null = null

  constructor({ jobId, hub, clock }: { jobId: JobId; hub: HubCalls; clock: Clock }) {
    this.#jobId = jobId
    this.#hub = hub
    this.#clock = clock
  }

  /** The step that runs, or ran last. */
  get current(): CaptureStep | null {
    return this.#current
  }

  async run<T>(step: CaptureStep, work: () => Promise<T>): Promise<T> {
    this.#current = step
    await this.#report(step, 'running')
    try {
      const result = await work()
      await this.#report(step, 'succeeded')
      return result
    } catch (error) {
      await this.#report(step, 'failed')
      throw error
    }
  }

  async #report(step: CaptureStep, state: 'running' | 'succeeded' | 'failed'): Promise<void> {
    const at = this.#clock.now().toISOString()
    await this.#hub.tell(hub => hub.reportStep({ jobId: this.#jobId, step, state, at }))
  }
}
