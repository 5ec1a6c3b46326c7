import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import {
  API_ROOT,
  challengeMessage,
  enrollmentRoutes,
  type HubMethods,
  hubMethods,
  type NodeId,
  type NodeMethods,
  type NodeStatus,
  nodeMethods,
  TUNNEL_PATH,
  TUNNEL_VERSION,
  type TunnelHandlers,
} from '@sendense/contracts'
import {
  AppError,
  attachTunnel,
  bindRoutes,
  encodePairingCode,
  newId,
  newPairingSecret,
  problemHandler,
  readTlsFingerprint,
  sealTo,
  type Tunnel,
  verifySignature,
} from '@sendense/platform'
import { memoryLog } from '@sendense/platform/testing'
import express from 'express'
import { generate } from 'selfsigned'
import { WebSocketServer } from 'ws'

type Hello = Parameters<TunnelHandlers<HubMethods>['hello']>[0]

const { enroll, verifyEnrollment, createNodeChallenge, createNodeToken } = enrollmentRoutes
const ROUTES = { enroll, verifyEnrollment, createNodeChallenge, createNodeToken }
const TUNNEL_URL = `${API_ROOT}${TUNNEL_PATH}`

export interface FakeHubOptions {
  /** What the Node may call, beyond `hello`. */
  readonly handlers?: Partial<TunnelHandlers<HubMethods>>
  readonly tokenLifetimeMs?: number
}

/** A Hub for one Node, on a port of its own: enrollment and tunnel as in the contract, everything else as a test says. */
export class FakeHub implements AsyncDisposable {
  readonly url: string
  readonly certificatePem: string
  readonly privateKeyPem: string
  readonly certificateSha256: string
  readonly pairingCode: string
  readonly nodeId = newId() as NodeId
  readonly hellos: Hello[] = []
  /** Paths of all requests. */
  readonly requests: string[] = []
  status: NodeStatus = 'pending-verification'
  /** Public keys, once the Node has enrolled. */
  keys: { signingKey: string; sealingKey: string } | undefined
  readonly #secret = newPairingSecret()
  readonly #server: Server
  readonly #sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false })
  readonly #connections = new Set<Duplex>()
  readonly #challenges = new Set<string>()
  readonly #tokens = new Map<string, number>()
  readonly #options: FakeHubOptions
  #tunnel: Tunnel<NodeMethods> | undefined

  private constructor(server: Server, options: FakeHubOptions, identity: HubIdentity) {
    const { cert, key, sha256 } = identity
    this.#server = server
    this.#options = options
    this.url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
    this.certificatePem = cert
    this.privateKeyPem = key
    this.certificateSha256 = sha256
    this.pairingCode = encodePairingCode({ secret: this.#secret, certificateSha256: sha256 })
    server.on('request', this.#app())
    server.on('upgrade', (request, socket, head) => {
      this.requests.push(request.url ?? '')
      const token = request.headers.authorization?.replace('Bearer ', '') ?? ''
      if (request.url !== TUNNEL_URL || !this.#isGood(token)) {
        return socket.end('HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n')
      }
      this.#sockets.handleUpgrade(request, socket, head, webSocket => this.#welcome(webSocket))
    })
  }

  static async start(options: FakeHubOptions = {}): Promise<FakeHub> {
    const { cert, private: key } = await generate([{ name: 'commonName', value: 'hub' }], {
      keyType: 'ec',
      curve: 'P-256',
    })
    const server = createServer({ cert, key })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { sha256 } = await readTlsFingerprint('127.0.0.1', (server.address() as AddressInfo).port)
    const hub = new FakeHub(server, options, { cert, key, sha256 })
    server.on('connection', (socket: Duplex) => {
      hub.#connections.add(socket)
      socket.once('close', () => hub.#connections.delete(socket))
    })
    return hub
  }

  /** What an administrator does. */
  approve(): void {
    this.status = 'approved'
  }

  /** Cuts the tunnel for good, as a revocation does. */
  revoke(): void {
    this.status = 'revoked'
    this.#tokens.clear()
    this.#tunnel?.close(4003, 'revoked')
  }

  /** Breaks all connections, as a failing network does. */
  cutConnections(): void {
    for (const socket of this.#connections) socket.destroy()
  }

  /** Takes back the tokens that are out, so that only a new one opens the tunnel. */
  forgetTokens(): void {
    this.#tokens.clear()
  }

  get isConnected(): boolean {
    return this.#tunnel !== undefined
  }

  /** The methods of the Node. */
  get node(): Tunnel<NodeMethods>['call'] {
    if (!this.#tunnel) throw new Error('The Node is not connected')
    return this.#tunnel.call
  }

  /** Credentials as the Hub keeps them: sealed to the Node. */
  async seal(credentials: { username: string; password: string }): Promise<string> {
    if (!this.keys) throw new Error('No Node has enrolled')
    return sealTo(this.keys.sealingKey, JSON.stringify(credentials), 'sendense vcenter credentials v1')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close()
    this.cutConnections()
    if (this.#server.listening) await once(this.#server, 'close')
  }

  #app() {
    const api = express.Router()
    bindRoutes(api, ROUTES, {
      enroll: ({ body }) => {
        if (body.pairingSecret !== this.#secret) throw new AppError('pairing-code-invalid')
        if (this.keys) throw new AppError('pairing-code-used')
        this.keys = body
        return { nodeId: this.nodeId, challenge: this.#challenge(), status: this.status }
      },
      verifyEnrollment: ({ body }) => {
        this.#checkSignature('enrollment', body)
        this.status = 'awaiting-approval'
        return { status: this.status }
      },
      createNodeChallenge: () => ({
        challenge: this.#challenge(),
        expiresAt: new Date(Date.now() + 60_000).toISOString(),
      }),
      createNodeToken: ({ body }) => {
        this.#checkSignature('token', body)
        if (this.status === 'rejected') throw new AppError('node-rejected', { detail: 'Nobody knows it' })
        if (this.status === 'revoked') throw new AppError('node-revoked', { detail: 'The machine was sold' })
        if (this.status !== 'approved') throw new AppError('node-not-approved')
        return this.#token()
      },
    })
    return express()
      .use((req, _res, next) => {
        this.requests.push(req.path)
        next()
      })
      .use(express.json())
      .use(API_ROOT, api)
      .use(problemHandler(memoryLog()))
  }

  #challenge(): string {
    const challenge = randomBytes(32).toString('base64url')
    this.#challenges.add(challenge)
    return challenge
  }

  #token(): { token: string; expiresAt: string } {
    const token = randomBytes(16).toString('base64url')
    const expiresAtMs = Date.now() + (this.#options.tokenLifetimeMs ?? 15 * 60_000)
    this.#tokens.set(token, expiresAtMs)
    return { token, expiresAt: new Date(expiresAtMs).toISOString() }
  }

  #isGood(token: string): boolean {
    return (this.#tokens.get(token) ?? 0) > Date.now()
  }

  #checkSignature(
    purpose: 'enrollment' | 'token',
    { nodeId, challenge, signature }: { nodeId: string; challenge: string; signature: string },
  ): void {
    const { certificateSha256: hubCertificateSha256, keys } = this
    const message = challengeMessage({ purpose, nodeId, challenge, hubCertificateSha256 })
    const isOurs = this.#challenges.delete(challenge)
    if (!keys || !isOurs || !verifySignature(keys.signingKey, message, signature)) {
      throw new AppError('signature-invalid')
    }
  }

  #welcome(socket: Parameters<typeof attachTunnel>[0]['socket']): void {
    const refuse = async () => {
      throw new AppError('internal')
    }
    const tunnel = attachTunnel({
      socket,
      offers: hubMethods,
      calls: nodeMethods,
      log: memoryLog(),
      handlers: {
        reportStep: async () => ({}),
        reportProgress: async () => ({}),
        planCapture: refuse,
        beginDisk: refuse,
        commitCapture: refuse,
        finishCapture: async () => ({}),
        ...this.#options.handlers,
        hello: async hello => {
          this.hellos.push(hello)
          this.#tunnel = tunnel
          return { version: '0.0.0', tunnelVersion: TUNNEL_VERSION }
        },
      },
    })
    void tunnel.closed.then(() => {
      if (this.#tunnel === tunnel) this.#tunnel = undefined
    })
  }
}

interface HubIdentity {
  readonly cert: string
  readonly key: string
  readonly sha256: string
}
