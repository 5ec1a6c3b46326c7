/** How pauses between tries grow. */
export interface BackoffOptions {
  readonly firstMs: number
  readonly longestMs: number
}

/**
 * Pauses that double up to a limit, each shortened by a random half, so that many Nodes that lost the same Hub
 * do not come back in the same instant.
 */
export class Backoff {
  readonly #options: BackoffOptions
  readonly #random: () => number
  #tries = 0

  constructor(options: BackoffOptions, random: () => number = Math.random) {
    this.#options = options
    this.#random = random
  }

  nextMs(): number {
    const { firstMs, longestMs } = this.#options
    const fullMs = Math.min(longestMs, firstMs * 2 ** this.#tries)
    this.#tries++
    return Math.round(fullMs * (0.5 + this.#random() / 2))
  }

  reset(): void {
    this.#tries = 0
  }
}
