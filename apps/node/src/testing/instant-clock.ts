import type { Clock } from '@sendense/platform'

/** A clock on which every wait is over at once: time jumps to its end. */
export class InstantClock implements Clock {
  #nowMs: number

  constructor(start = '2026-01-01T00:00:00.000Z') {
    this.#nowMs = Date.parse(start)
  }

  now(): Date {
    return new Date(this.#nowMs)
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    this.#nowMs += ms
    // Others get a turn, or whoever polls would never see what it waits for.
    await new Promise(resolve => setImmediate(resolve))
    signal?.throwIfAborted()
  }
}
