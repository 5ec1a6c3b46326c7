import { createHash } from 'node:crypto'
import {
  challengeMessage,
  type NodeId,
  NodeId as NodeIdSchema,
  type NodeStatus,
  type NodeView,
  type Page,
  type PageQuery,
  type PairingCode,
} from '@sendense/contracts'
import type { RateLimit } from '@sendense/engine'
import {
  AppError,
  type Clock,
  encodePairingCode,
  keyFingerprint,
  type Logger,
  newId,
  newPairingSecret,
  type Principal,
  verifySignature,
} from '@sendense/platform'
import { ChallengeBook } from './challenge-book.ts'
import type { EnrollmentStore, Node } from './enrollment.store.ts'
import { NodeRates } from './node-rates.ts'

const TOKEN_LIFETIME_MS = 15 * 60_000

export interface EnrollmentServiceOptions {
  store: EnrollmentStore
  clock: Clock
  log: Logger
  /** SHA-256 of the Hub's certificate, lower-case hex. */
  certificateSha256: string
  tokens: {
    issue(input: { subjectId: string; name: string; role: 'node'; lifetimeMs: number }): Promise<{
      token: string
      expiresAt: Date
    }>
    revokeAll(subjectId: string): Promise<void>
  }
  tunnels: { isConnected(nodeId: NodeId): boolean; disconnect(nodeId: NodeId): void }
  createRateLimit(bytesPerSecond: number | null): Promise<RateLimit>
}

interface SignedChallenge {
  nodeId: NodeId
  challenge: string
  signature: string
}

/** Pairing, approval and revocation of Nodes. */
export class EnrollmentService {
  readonly #options: EnrollmentServiceOptions
  readonly #challenges: ChallengeBook
  readonly #rates: NodeRates

  constructor(options: EnrollmentServiceOptions) {
    this.#options = options
    this.#challenges = new ChallengeBook(options.clock)
    this.#rates = new NodeRates(rate => options.createRateLimit(rate))
  }

  async createPairingCode(principal: Principal, validForSeconds: number): Promise<PairingCode> {
    const { store, clock, certificateSha256, log } = this.#options
    const secret = newPairingSecret()
    const createdAt = clock.now()
    const expiresAt = new Date(createdAt.getTime() + validForSeconds * 1000)
    const id = newId()
    await store.addPairingCode({
      id,
      secretSha256: hashOf(secret),
      createdBy: principal.name,
      createdAt,
      expiresAt,
      usedAt: null,
      nodeId: null,
    })
    log.info('A pairing code was created', { pairingCodeId: id, by: principal.name, expiresAt })
    return {
      pairingCode: encodePairingCode({ secret, certificateSha256 }),
      expiresAt: expiresAt.toISOString(),
    }
  }

  async enroll(
    request: { pairingSecret: string; name: string; version: string; signingKey: string; sealingKey: string },
    address: string,
  ): Promise<{ nodeId: NodeId; challenge: string; status: NodeStatus }> {
    const { store, clock, log } = this.#options
    const now = clock.now()
    const code = await store.findPairingCode(hashOf(request.pairingSecret))
    if (!code) throw new AppError('pairing-code-invalid')
    if (code.usedAt) throw new AppError('pairing-code-used')
    if (code.expiresAt <= now) throw new AppError('pairing-code-expired')
    const node: Node = {
      id: NodeIdSchema.parse(newId()),
      name: request.name,
      status: 'pending-verification',
      version: request.version,
      signingKey: request.signingKey,
      sealingKey: request.sealingKey,
      keyFingerprint: keyFingerprint(request.signingKey),
      address,
      enrolledAt: now,
      decidedAt: null,
      decidedBy: null,
      decisionReason: null,
      lastSeenAt: null,
      bytesPerSecondMax: null,
    }
    if (!(await store.enroll(code.id, node, now))) throw new AppError('pairing-code-used')
    log.info('A Node has enrolled', { nodeId: node.id, name: node.name, address })
    return { nodeId: node.id, challenge: this.#challenges.issue(node.id).challenge, status: node.status }
  }

  async verify(request: SignedChallenge): Promise<{ status: NodeStatus }> {
    await this.#checkSignature('enrollment', request)
    const from: NodeStatus[] = ['pending-verification']
    const isChanged = await this.#options.store.changeNode(request.nodeId, from, {
      status: 'awaiting-approval',
    })
    const { status } = await this.#get(request.nodeId)
    if (!isChanged && status !== 'awaiting-approval') throw stateConflict(status)
    return { status }
  }

  async createChallenge(nodeId: NodeId): Promise<{ challenge: string; expiresAt: string }> {
    await this.#get(nodeId)
    const { challenge, expiresAt } = this.#challenges.issue(nodeId)
    return { challenge, expiresAt: expiresAt.toISOString() }
  }

  async createToken(request: SignedChallenge): Promise<{ token: string; expiresAt: string }> {
    const node = await this.#checkSignature('token', request)
    if (node.status === 'rejected') throw new AppError('node-rejected', reasonDetail(node))
    if (node.status === 'revoked') throw new AppError('node-revoked', reasonDetail(node))
    if (node.status !== 'approved') throw new AppError('node-not-approved')
    const { token, expiresAt } = await this.#options.tokens.issue({
      subjectId: node.id,
      name: node.name,
      role: 'node',
      lifetimeMs: TOKEN_LIFETIME_MS,
    })
    return { token, expiresAt: expiresAt.toISOString() }
  }

  async list(query: PageQuery & { status?: NodeStatus | undefined }): Promise<Page<NodeView>> {
    const page = await this.#options.store.listNodes(query)
    return { ...page, items: page.items.map(node => this.#view(node)) }
  }

  async get(nodeId: NodeId): Promise<NodeView> {
    return this.#view(await this.#get(nodeId))
  }

  approve(principal: Principal, nodeId: NodeId): Promise<NodeView> {
    return this.#decide(principal, nodeId, { from: ['awaiting-approval'], to: 'approved', reason: null })
  }

  reject(principal: Principal, nodeId: NodeId, reason: string): Promise<NodeView> {
    return this.#decide(principal, nodeId, {
      from: ['pending-verification', 'awaiting-approval'],
      to: 'rejected',
      reason,
    })
  }

  async revoke(principal: Principal, nodeId: NodeId, reason: string): Promise<NodeView> {
    const view = await this.#decide(principal, nodeId, { from: ['approved'], to: 'revoked', reason })
    await this.#options.tokens.revokeAll(nodeId)
    this.#options.tunnels.disconnect(nodeId)
    return { ...view, isConnected: false }
  }

  /** Changes the limit of a Node, for the captures that run too. */
  async update(
    principal: Principal,
    nodeId: NodeId,
    { bytesPerSecondMax }: { bytesPerSecondMax: number | null },
  ): Promise<NodeView> {
    const { store, log } = this.#options
    const isChanged = await store.changeNode(nodeId, ['awaiting-approval', 'approved'], { bytesPerSecondMax })
    const node = await this.#get(nodeId)
    if (!isChanged) throw stateConflict(node.status)
    await this.#rates.change(nodeId, bytesPerSecondMax)
    log.info('The limit of a Node was changed', { nodeId, bytesPerSecondMax, by: principal.name })
    return this.#view(node)
  }

  /** The limit that all captures of a Node keep together. */
  async rateLimitOf(nodeId: NodeId): Promise<RateLimit> {
    const { bytesPerSecondMax } = await this.#get(nodeId)
    return this.#rates.limitOf(nodeId, bytesPerSecondMax)
  }

  /** The key that secrets for an approved Node are sealed to. */
  async sealingKeyOf(nodeId: NodeId): Promise<string> {
    const node = await this.#get(nodeId)
    if (node.status !== 'approved') throw stateConflict(node.status)
    return node.sealingKey
  }

  /** Notes a sign of life over the tunnel. */
  async noteSeen(nodeId: NodeId, version?: string): Promise<void> {
    await this.#options.store.changeNode(nodeId, ['approved'], {
      lastSeenAt: this.#options.clock.now(),
      ...(version !== undefined && { version }),
    })
  }

  async #decide(
    principal: Principal,
    nodeId: NodeId,
    { from, to, reason }: { from: NodeStatus[]; to: NodeStatus; reason: string | null },
  ): Promise<NodeView> {
    const { store, clock, log } = this.#options
    const isChanged = await store.changeNode(nodeId, from, {
      status: to,
      decidedAt: clock.now(),
      decidedBy: principal.name,
      decisionReason: reason,
    })
    const node = await this.#get(nodeId)
    if (!isChanged) throw stateConflict(node.status)
    log.info('The status of a Node was decided', { nodeId, status: to, by: principal.name, reason })
    return this.#view(node)
  }

  /** The Node, if it signed one of our challenges. The challenge is used up either way. */
  async #checkSignature(purpose: 'enrollment' | 'token', request: SignedChallenge): Promise<Node> {
    const node = await this.#get(request.nodeId)
    const message = challengeMessage({
      purpose,
      nodeId: node.id,
      challenge: request.challenge,
      hubCertificateSha256: this.#options.certificateSha256,
    })
    const isOurs = this.#challenges.redeem(node.id, request.challenge)
    if (!isOurs || !verifySignature(node.signingKey, message, request.signature)) {
      throw new AppError('signature-invalid')
    }
    return node
  }

  async #get(nodeId: NodeId): Promise<Node> {
    const node = await this.#options.store.getNode(nodeId)
    if (!node) throw new AppError('not-found', { detail: `There is no Node ${nodeId}.` })
    return node
  }

  #view({ signingKey: _signingKey, sealingKey: _sealingKey, ...node }: Node): NodeView {
    return {
      ...node,
      isConnected: this.#options.tunnels.isConnected(node.id),
      enrolledAt: node.enrolledAt.toISOString(),
      decidedAt: node.decidedAt?.toISOString() ?? null,
      lastSeenAt: node.lastSeenAt?.toISOString() ?? null,
    }
  }
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}

function stateConflict(status: NodeStatus): AppError {
  return new AppError('conflict', { detail: `The Node is ${status}.` })
}

function reasonDetail({ decisionReason }: Node): { detail?: string } {
  return decisionReason === null ? {} : { detail: `The administrator wrote: ${decisionReason}` }
}
