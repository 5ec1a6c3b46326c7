import type { NodeId } from '@sendense/contracts'
import type { RateLimit } from '@sendense/engine'

/** One limit for each Node, which all of its captures keep together and which changes while they run. */
export class NodeRates {
  readonly #create: (bytesPerSecond: number | null) => Promise<RateLimit>
  readonly #limits = new Map<NodeId, RateLimit>()

  constructor(create: (bytesPerSecond: number | null) => Promise<RateLimit>) {
    this.#create = create
  }

  /** The limit of the Node, the same object every time, at this rate; `null` is no limit. */
  async limitOf(nodeId: NodeId, bytesPerSecond: number | null): Promise<RateLimit> {
    const made = this.#limits.get(nodeId) ?? (await this.#create(bytesPerSecond))
    // Another capture may have been faster.
    const limit = this.#limits.get(nodeId) ?? made
    this.#limits.set(nodeId, limit)
    await limit.setRate(bytesPerSecond)
    return limit
  }

  /** Changes what the captures that run now may take. */
  async change(nodeId: NodeId, bytesPerSecond: number | null): Promise<void> {
    await this.#limits.get(nodeId)?.setRate(bytesPerSecond)
  }
}
