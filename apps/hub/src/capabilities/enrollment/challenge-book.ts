import { randomBytes } from 'node:crypto'
import type { Clock } from '@sendense/platform'

const LIFETIME_MS = 60_000
/** More than this many open challenges are not kept: the oldest goes, so that asking for them cannot fill memory. */
const OPEN_MAX = 10_000

interface Entry {
  nodeId: string
  expiresAt: Date
}

/** Challenges that wait for their signature. In memory on purpose: after a restart a Node asks for a new one. */
export class ChallengeBook {
  readonly #clock: Clock
  readonly #open = new Map<string, Entry>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** A new challenge of 32 random bytes for this Node. */
  issue(nodeId: string): { challenge: string; expiresAt: Date } {
    const oldest = this.#open.keys().next()
    if (this.#open.size >= OPEN_MAX && !oldest.done) this.#open.delete(oldest.value)
    const challenge = randomBytes(32).toString('base64url')
    const expiresAt = new Date(this.#clock.now().getTime() + LIFETIME_MS)
    this.#open.set(challenge, { nodeId, expiresAt })
    return { challenge, expiresAt }
  }

  /** Takes a challenge out: true once, for the Node that it was given to, while it is valid. */
  redeem(nodeId: string, challenge: string): boolean {
    const entry = this.#open.get(challenge)
    if (!entry || entry.nodeId !== nodeId) return false
    this.#open.delete(challenge)
    return entry.expiresAt > this.#clock.now()
  }
}
