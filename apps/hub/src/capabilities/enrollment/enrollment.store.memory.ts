import type { NodeId, NodeStatus, Page, PageQuery } from '@sendense/contracts'
import { pageOfArray } from '../../testing/page-of-array.ts'
import type { EnrollmentStore, Node, NodeChange, PairingCodeRecord } from './enrollment.store.ts'

/** The fake: passes the same suite as the real store. */
export class EnrollmentMemoryStore implements EnrollmentStore {
  readonly #codes = new Map<string, PairingCodeRecord>()
  readonly #nodes = new Map<NodeId, Node>()

  async addPairingCode(code: PairingCodeRecord): Promise<void> {
    this.#codes.set(code.id, { ...code })
  }

  async findPairingCode(secretSha256: string): Promise<PairingCodeRecord | undefined> {
    const found = [...this.#codes.values()].find(code => code.secretSha256 === secretSha256)
    return found && { ...found }
  }

  async enroll(codeId: string, node: Node, usedAt: Date): Promise<boolean> {
    const code = this.#codes.get(codeId)
    if (!code || code.usedAt) return false
    this.#codes.set(codeId, { ...code, usedAt, nodeId: node.id })
    this.#nodes.set(node.id, { ...node })
    return true
  }

  async getNode(id: NodeId): Promise<Node | undefined> {
    const node = this.#nodes.get(id)
    return node && { ...node }
  }

  async listNodes({
    status,
    ...query
  }: PageQuery & { status?: NodeStatus | undefined }): Promise<Page<Node>> {
    const nodes = [...this.#nodes.values()].filter(node => status === undefined || node.status === status)
    return pageOfArray(nodes, query, node => node.id, 'descending')
  }

  async changeNode(id: NodeId, from: readonly NodeStatus[], change: NodeChange): Promise<boolean> {
    const node = this.#nodes.get(id)
    if (!node || !from.includes(node.status)) return false
    this.#nodes.set(id, { ...node, ...change })
    return true
  }
}
