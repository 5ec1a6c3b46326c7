import type { HubMethods, TunnelCaller } from '@sendense/contracts'
import { AppError, type Clock } from '@sendense/platform'
import { Backoff } from '../platform/backoff.ts'
import { orAborted } from '../platform/or-aborted.ts'
import type { HubLink } from './hub-link.ts'

/** A Hub that takes longer to listen must not hold up a capture. */
const TELL_MS = 5000

type Hub = TunnelCaller<HubMethods>

/** How captures talk to the Hub, over a link that may be down at times. */
export interface HubCalls {
  /** Says something that will soon be old. False when the Hub did not hear it. */
  tell(call: (hub: Hub) => Promise<unknown>): Promise<boolean>
  /**
   * Asks until there is an answer, over as many lives of the link as it takes. The Hub may get the question more
   * than once. Rejects with what the Hub answers, or with the signal's reason.
   */
  ask<T>(call: (hub: Hub) => Promise<T>, signal: AbortSignal): Promise<T>
}

/** Calls over the link that is there at the moment. */
export class LinkedHubCalls implements HubCalls {
  readonly #link: Pick<HubLink, 'hub' | 'untilUp'>
  readonly #clock: Clock

  constructor({ link, clock }: { link: Pick<HubLink, 'hub' | 'untilUp'>; clock: Clock }) {
    this.#link = link
    this.#clock = clock
  }

  async tell(call: (hub: Hub) => Promise<unknown>): Promise<boolean> {
    const { hub } = this.#link
    if (!hub) return false
    return orAborted(call(hub), AbortSignal.timeout(TELL_MS)).then(
      () => true,
      () => false,
    )
  }

  async ask<T>(call: (hub: Hub) => Promise<T>, signal: AbortSignal): Promise<T> {
    const backoff = new Backoff({ firstMs: 100, longestMs: 5000 })
    for (;;) {
      const hub = await this.#link.untilUp(signal)
      try {
        return await orAborted(call(hub), signal)
      } catch (error) {
        if (!isLinkLost(error)) throw error
      }
      await this.#clock.sleep(backoff.nextMs(), signal)
    }
  }
}

/** Whether a call ended without an answer; the Hub may have got it or not. */
function isLinkLost(error: unknown): boolean {
  return AppError.is(error, 'node-unreachable')
}
