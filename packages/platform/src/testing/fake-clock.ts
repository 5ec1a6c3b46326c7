import type { Clock } from '../clock.ts'

interface Sleeper {
  readonly wakeAtMs: number
  readonly wake: () => void
}

/** A clock that stands still until a test moves it. */
export class FakeClock implements Clock {
  #nowMs: number
  readonly #sleepers = new Set<Sleeper>()

  constructor(start = '2026-01-01T00:00:00.000Z') {
    this.#nowMs = Date.parse(start)
  }

  now(): Date {
    return new Date(this.#nowMs)
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason)
    return new Promise((resolve, reject) => {
      const sleeper = { wakeAtMs: this.#nowMs + ms, wake: resolve }
      this.#sleepers.add(sleeper)
      signal?.addEventListener(
        'abort',
        () => {
          this.#sleepers.delete(sleeper)
          reject(signal.reason)
        },
        { once: true },
      )
    })
  }

  /** How many wait for time to pass. */
  get sleeperCount(): number {
    return this.#sleepers.size
  }

  /** Lets time pass, wakes who is due in order, and gives them a turn of the event loop each. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms
    for (;;) {
      const due = [...this.#sleepers]
        .filter(sleeper => sleeper.wakeAtMs <= endMs)
        .sort((a, b) => a.wakeAtMs - b.wakeAtMs)[0]
      if (!due) break
      this.#nowMs = Math.max(this.#nowMs, due.wakeAtMs)
      this.#sleepers.delete(due)
      due.wake()
      await new Promise(resolve => setImmediate(resolve))
    }
    this.#nowMs = endMs
  }
}
