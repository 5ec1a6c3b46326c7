import type { NodeId } from '@sendense/contracts'
import type { Clock } from '@sendense/platform'
import { type CaptureRegistry, endCapture } from './capture-registry.ts'

/** What the tunnels tell about their Nodes. */
export interface TunnelNews {
  on(event: 'connected', listener: (nodeId: NodeId) => void): unknown
  on(event: 'disconnected', listener: (nodeId: NodeId, isFinal: boolean) => void): unknown
}

interface Options {
  captures: CaptureRegistry
  clock: Clock
  /** How long a Node may be away before its captures fail. */
  graceMs: number
}

/** Fails the captures of Nodes that went away and did not come back, and at once those of revoked ones. */
export class NodeLossWatch {
  readonly #options: Options
  readonly #waiting = new Map<NodeId, AbortController>()

  constructor(options: Options) {
    this.#options = options
  }

  listenTo(tunnels: TunnelNews): void {
    tunnels.on('connected', nodeId => this.#stopWaiting(nodeId))
    tunnels.on('disconnected', (nodeId, isFinal) => {
      if (isFinal) this.#endAll(nodeId, 'node-revoked', 'The Node was revoked during the capture.')
      else void this.#wait(nodeId)
    })
  }

  close(): void {
    for (const nodeId of [...this.#waiting.keys()]) this.#stopWaiting(nodeId)
  }

  async #wait(nodeId: NodeId): Promise<void> {
    this.#stopWaiting(nodeId)
    const comesBack = new AbortController()
    this.#waiting.set(nodeId, comesBack)
    const { clock, graceMs } = this.#options
    await clock.sleep(graceMs, comesBack.signal).catch(() => undefined)
    if (comesBack.signal.aborted) return
    this.#waiting.delete(nodeId)
    this.#endAll(nodeId, 'node-lost', `The Node did not come back within ${graceMs / 1000} s.`)
  }

  #stopWaiting(nodeId: NodeId): void {
    this.#waiting.get(nodeId)?.abort()
    this.#waiting.delete(nodeId)
  }

  #endAll(nodeId: NodeId, code: 'node-lost' | 'node-revoked', detail: string): void {
    for (const capture of this.#options.captures.allOf(nodeId)) endCapture(capture, code, detail)
  }
}
