import type { Agent } from 'node:https'
import {
  type CaptureState,
  type HubMethods,
  hubMethods,
  type NodeMethods,
  type NodeStatus,
  nodeMethods,
  TUNNEL_VERSION,
  type TunnelCaller,
  type TunnelHandlers,
} from '@sendense/contracts'
import { AppError, attachTunnel, type Clock, type Logger, type Tunnel, VERSION } from '@sendense/platform'
import type { WebSocket } from 'ws'
import type { AccessTokens } from '../enrollment/access-tokens.ts'
import { Backoff } from '../platform/backoff.ts'
import { orAborted } from '../platform/or-aborted.ts'
import { openHubSocket } from './open-hub-socket.ts'

export interface HubLinkDeps {
  readonly hubUrl: string
  /** Insists on the pinned certificate. */
  readonly agent: Agent
  readonly tokens: AccessTokens
  /** Where the Node stood when it last heard of it. */
  readonly status: NodeStatus
  readonly clock: Clock
  readonly log: Logger
  readonly heartbeatMs?: number
}

/** What the Node does for the Hub and because of it. */
export interface LinkEnd {
  /** What the Hub may call. */
  readonly handlers: TunnelHandlers<NodeMethods>
  /** The captures to name in `hello`. */
  readonly captureStates: () => CaptureState[]
  /** The Hub says something new about where the Node stands. */
  readonly onStatus: (status: NodeStatus) => void
  /** The Hub has rejected or revoked this Node for good. */
  readonly onExpelled: (error: AppError) => void
}

/** A call may take long: committing a big restore point does. That the link is alive is seen by its heartbeat. */
const CALL_TIMEOUT_MS = 10 * 60_000
/** Links that come and go faster than this are dialled more and more slowly: two Nodes may be fighting for one id. */
const STABLE_MS = 30_000
/** While an administrator decides there is no hurry, but no long wait after the decision either. */
const RETRY = { firstMs: 250, longestMs: 10_000 }
const FAREWELL_MS = 1000
/** The Hub's close code for a Node that it has cut off. */
const REVOKED = 4003

/**
 * The connection to the Hub: dialled by the Node, kept up for ever, and dialled again with growing pauses when it
 * is lost. Only a rejection or a revocation ends it.
 */
export class HubLink {
  readonly #deps: HubLinkDeps
  readonly #backoff = new Backoff(RETRY)
  readonly #stopped = new AbortController()
  #running: Promise<void> = Promise.resolve()
  #status: NodeStatus
  #tunnel: Tunnel<HubMethods> | undefined
  #up = Promise.withResolvers<void>()
  #lastTrouble = ''
  #lastUpAtMs = Number.NEGATIVE_INFINITY

  constructor(deps: HubLinkDeps) {
    this.#deps = deps
    this.#status = deps.status
  }

  /** Where the Node stands, as the Hub said last. */
  get status(): NodeStatus {
    return this.#status
  }

  get isConnected(): boolean {
    return this.#tunnel !== undefined
  }

  start(end: LinkEnd): void {
    this.#running = this.#keepUp(end)
  }

  /** Ends the link; resolves when the socket is closed. */
  async stop(): Promise<void> {
    this.#stopped.abort(new AppError('node-unreachable', { detail: 'The Node is stopping' }))
    await this.#running
  }

  /** The Hub's methods if the link is up. */
  get hub(): TunnelCaller<HubMethods> | undefined {
    return this.#tunnel?.call
  }

  /** The Hub's methods as soon as the link is up. Rejects with the signal's reason. */
  async untilUp(signal: AbortSignal): Promise<TunnelCaller<HubMethods>> {
    const either = AbortSignal.any([signal, this.#stopped.signal])
    for (;;) {
      either.throwIfAborted()
      if (this.#tunnel) return this.#tunnel.call
      await orAborted(this.#up.promise, either)
    }
  }

  async #keepUp(end: LinkEnd): Promise<void> {
    const { signal } = this.#stopped
    while (!signal.aborted) {
      try {
        await this.#connectOnce(end, signal)
      } catch (error) {
        if (signal.aborted) return
        if (this.#isExpulsion(AppError.from(error), end)) return
        this.#noteTrouble(AppError.from(error), end)
      }
      await this.#deps.clock.sleep(this.#backoff.nextMs(), signal).catch(() => undefined)
    }
  }

  /** One life of the link: resolves when it has ended. */
  async #connectOnce(end: LinkEnd, signal: AbortSignal): Promise<void> {
    const { tokens, hubUrl, agent, log } = this.#deps
    const token = await tokens.get(signal)
    this.#setStatus('approved', end)
    const socket = await openHubSocket({ hubUrl, token, agent, signal }).catch(error => {
      // A token that is not accepted may have been taken back before its time.
      if (AppError.is(error, 'unauthenticated')) tokens.forget()
      throw error
    })
    const tunnel = this.#attach(socket, end)
    const leave = () => {
      tunnel.close(1001, 'the Node is stopping')
      // A Hub that hangs would not answer the farewell.
      setTimeout(() => socket.terminate(), FAREWELL_MS).unref()
    }
    signal.addEventListener('abort', leave, { once: true })
    try {
      await this.#greet(tunnel, end)
      const { code, reason } = await tunnel.closed
      log.warn('The connection to the Hub has ended', { code, reason })
      if (code === REVOKED) this.#askAgainAtOnce()
    } finally {
      signal.removeEventListener('abort', leave)
      tunnel.close()
      this.#goDown()
    }
  }

  #attach(socket: WebSocket, { handlers }: LinkEnd): Tunnel<HubMethods> {
    const { log, heartbeatMs } = this.#deps
    return attachTunnel({
      socket,
      offers: nodeMethods,
      handlers,
      calls: hubMethods,
      callTimeoutMs: CALL_TIMEOUT_MS,
      log,
      ...(heartbeatMs !== undefined && { heartbeatMs }),
    })
  }

  async #greet(tunnel: Tunnel<HubMethods>, { captureStates }: LinkEnd): Promise<void> {
    const { clock, log } = this.#deps
    const hub = await tunnel.call.hello({
      version: VERSION,
      tunnelVersion: TUNNEL_VERSION,
      captures: captureStates(),
    })
    if (Math.abs(hub.tunnelVersion - TUNNEL_VERSION) > 1) {
      const detail = `The Hub speaks version ${hub.tunnelVersion} of the tunnel, this Node ${TUNNEL_VERSION}`
      throw new AppError('protocol-mismatch', { detail })
    }
    const nowMs = clock.now().getTime()
    if (nowMs - this.#lastUpAtMs >= STABLE_MS) this.#backoff.reset()
    this.#lastUpAtMs = nowMs
    this.#lastTrouble = ''
    this.#tunnel = tunnel
    this.#up.resolve()
    log.info('Connected to the Hub', { hubVersion: hub.version })
  }

  /** The Hub has cut us off on purpose: no time is to be lost until we know whether that is for good. */
  #askAgainAtOnce(): void {
    this.#deps.tokens.forget()
    this.#backoff.reset()
  }

  #goDown(): void {
    if (!this.#tunnel) return
    this.#tunnel = undefined
    this.#up = Promise.withResolvers<void>()
  }

  #setStatus(status: NodeStatus, { onStatus }: LinkEnd): void {
    if (this.#status === status) return
    this.#status = status
    onStatus(status)
  }

  /** A rejection or revocation is final: asking again could only annoy. */
  #isExpulsion(error: AppError, end: LinkEnd): boolean {
    if (error.code !== 'node-rejected' && error.code !== 'node-revoked') return false
    this.#setStatus(error.code === 'node-rejected' ? 'rejected' : 'revoked', end)
    const advice = 'To come back, pair it anew with: sendense-node pair --replace'
    this.#deps.log.error(`The Hub has ${this.#status} this Node. ${advice}`, { detail: error.message })
    end.onExpelled(error)
    return true
  }

  /** Says each trouble once, not at each try. */
  #noteTrouble(error: AppError, end: LinkEnd): void {
    if (error.code === 'node-not-approved') this.#setStatus('awaiting-approval', end)
    const trouble = `${error.code}: ${error.message}`
    if (trouble === this.#lastTrouble) return
    this.#lastTrouble = trouble
    if (error.code === 'node-not-approved')
      this.#deps.log.info('Waiting until an administrator approves this Node')
    else this.#deps.log.warn('No connection to the Hub; trying again', { error })
  }
}
