import { EventEmitter } from 'node:events'
import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import {
  API_ROOT,
  type HubMethods,
  hubMethods,
  type NodeId,
  type NodeMethods,
  nodeMethods,
  TUNNEL_PATH,
  type TunnelCaller,
  type TunnelHandlers,
} from '@sendense/contracts'
import { AppError, attachTunnel, type Logger, type Principal, type Tunnel } from '@sendense/platform'
import { WebSocketServer } from 'ws'

/** Largest message of either side. A discovery of thousands of VMs fits; disk data never comes here. */
const MESSAGE_BYTES_MAX = 64 * 1024 * 1024

export interface TunnelEvents {
  connected: [nodeId: NodeId]
  /** `isFinal`: the Node was disconnected by us on purpose and shall not come back. */
  disconnected: [nodeId: NodeId, isFinal: boolean]
}

interface Options {
  /** Who holds this bearer token; undefined when nobody does. */
  authenticate: (token: string) => Promise<Principal | undefined>
  heartbeatMs?: number
  log: Logger
}

/** All tunnels of this Hub process, by Node. */
export class NodeTunnels extends EventEmitter<TunnelEvents> {
  readonly #options: Options
  readonly #tunnels = new Map<NodeId, Tunnel<NodeMethods>>()
  readonly #sockets = new WebSocketServer({
    noServer: true,
    maxPayload: MESSAGE_BYTES_MAX,
    perMessageDeflate: false,
  })
  #handlersFor: (nodeId: NodeId) => TunnelHandlers<HubMethods> = () => {
    throw new AppError('internal', { cause: new Error('a Node connected before the handlers were set') })
  }

  constructor(options: Options) {
    super()
    this.#options = options
  }

  /** Sets what the Nodes may call. To be done once, before `listenOn`. */
  serve(handlersFor: (nodeId: NodeId) => TunnelHandlers<HubMethods>): void {
    this.#handlersFor = handlersFor
  }

  /** Takes the upgrades of a server. Anything but the tunnel's path is refused. */
  listenOn(server: Server): void {
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      this.#upgrade(request, socket, head).catch(error => {
        this.#options.log.warn('A tunnel could not be opened', { error })
        socket.destroy()
      })
    })
  }

  isConnected(nodeId: NodeId): boolean {
    return this.#tunnels.has(nodeId)
  }

  /** The methods of a Node. Fails at once with `node-unreachable` when it has no tunnel. */
  call(nodeId: NodeId): TunnelCaller<NodeMethods> {
    const tunnel = this.#tunnels.get(nodeId)
    if (!tunnel) throw new AppError('node-unreachable', { detail: `The Node ${nodeId} is not connected.` })
    return tunnel.call
  }

  /** Cuts the tunnel of a Node for good. */
  disconnect(nodeId: NodeId): void {
    const tunnel = this.#tunnels.get(nodeId)
    this.#tunnels.delete(nodeId)
    tunnel?.close(4003, 'revoked')
    this.emit('disconnected', nodeId, true)
  }

  /** Cuts all tunnels; the Nodes will try to come back. */
  close(): void {
    for (const tunnel of this.#tunnels.values()) tunnel.close(1001, 'the Hub is stopping')
    this.#tunnels.clear()
    this.#sockets.close()
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const { pathname } = new URL(request.url ?? '/', 'https://hub')
    if (pathname !== `${API_ROOT}${TUNNEL_PATH}`) return refuse(socket, '404 Not Found')
    const token = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1]
    const principal = token === undefined ? undefined : await this.#options.authenticate(token)
    if (!principal) return refuse(socket, '401 Unauthorized')
    if (!principal.can('node:tunnel')) return refuse(socket, '403 Forbidden')
    const nodeId = principal.id as NodeId
    this.#sockets.handleUpgrade(request, socket, head, webSocket => {
      const tunnel = attachTunnel({
        socket: webSocket,
        offers: hubMethods,
        handlers: this.#handlersFor(nodeId),
        calls: nodeMethods,
        log: this.#options.log,
        ...(this.#options.heartbeatMs !== undefined && { heartbeatMs: this.#options.heartbeatMs }),
      })
      this.#keep(nodeId, tunnel)
    })
  }

  #keep(nodeId: NodeId, tunnel: Tunnel<NodeMethods>): void {
    const previous = this.#tunnels.get(nodeId)
    this.#tunnels.set(nodeId, tunnel)
    previous?.close(4001, 'replaced by a newer connection')
    this.#options.log.info('A Node has connected', { nodeId })
    this.emit('connected', nodeId)
    void tunnel.closed.then(({ code, reason }) => {
      // A tunnel that was replaced or cut on purpose is no longer the one in the map.
      if (this.#tunnels.get(nodeId) !== tunnel) return
      this.#tunnels.delete(nodeId)
      this.#options.log.info('A Node has disconnected', { nodeId, code, reason })
      this.emit('disconnected', nodeId, false)
    })
  }
}

function refuse(socket: Duplex, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
}
