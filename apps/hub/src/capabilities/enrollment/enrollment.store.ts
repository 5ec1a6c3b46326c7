import type { NodeId, NodeStatus, Page, PageQuery } from '@sendense/contracts'

/** A Node as the Hub keeps it. */
export interface Node {
  id: NodeId
  name: string
  status: NodeStatus
  version: string
  /** Ed25519 public key, raw, base64url. */
  signingKey: string
  /** X25519 public key, raw, base64url. */
  sealingKey: string
  keyFingerprint: string
  address: string
  enrolledAt: Date
  decidedAt: Date | null
  decidedBy: string | null
  decisionReason: string | null
  lastSeenAt: Date | null
  /** How fast all its captures together may send; no limit when null. */
  bytesPerSecondMax: number | null
}

export interface PairingCodeRecord {
  id: string
  /** SHA-256 of the secret, hex; the secret itself is never kept. */
  secretSha256: string
  createdBy: string
  createdAt: Date
  expiresAt: Date
  usedAt: Date | null
  nodeId: NodeId | null
}

/** What may change after the enrollment. */
export type NodeChange = Partial<
  Pick<
    Node,
    'status' | 'version' | 'decidedAt' | 'decidedBy' | 'decisionReason' | 'lastSeenAt' | 'bytesPerSecondMax'
  >
>

export interface EnrollmentStore {
  addPairingCode(code: PairingCodeRecord): Promise<void>
  findPairingCode(secretSha256: string): Promise<PairingCodeRecord | undefined>
  /**
   * Marks the code as used by the Node and adds the Node, both or neither.
   * False when another enrollment has used the code in the meantime.
   */
  enroll(codeId: string, node: Node, usedAt: Date): Promise<boolean>
  getNode(id: NodeId): Promise<Node | undefined>
  /** Newest first. */
  listNodes(query: PageQuery & { status?: NodeStatus | undefined }): Promise<Page<Node>>
  /** Changes a Node only if it is in one of these states. False when it is not. */
  changeNode(id: NodeId, from: readonly NodeStatus[], change: NodeChange): Promise<boolean>
}
