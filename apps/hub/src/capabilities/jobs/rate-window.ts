/** How far back the rate looks: long enough to be calm, short enough to be true. */
const WINDOW_MS = 20_000
const SAMPLE_MS_MIN = 500

/** Bytes per second over the last moments. */
export class RateWindow {
  #samples: { atMs: number; bytes: number }[] = []

  /** Notes how much is done in all. */
  add(atMs: number, bytes: number): void {
    const last = this.#samples.at(-1)
    // A job that begins again counts from the start.
    if (last && bytes < last.bytes) this.#samples = []
    if (last && atMs - last.atMs < SAMPLE_MS_MIN && this.#samples.length > 1) this.#samples.pop()
    this.#samples.push({ atMs, bytes })
    // The youngest sample outside the window stays: the window begins there.
    while ((this.#samples[1]?.atMs ?? atMs) < atMs - WINDOW_MS) this.#samples.shift()
  }

  /** Null until there is something to tell. Goes down when nothing comes any more. */
  bytesPerSecond(nowMs: number): number | null {
    const first = this.#samples[0]
    const last = this.#samples.at(-1)
    if (!first || !last || nowMs - first.atMs < SAMPLE_MS_MIN || first === last) return null
    return ((last.bytes - first.bytes) / (nowMs - first.atMs)) * 1000
  }
}
