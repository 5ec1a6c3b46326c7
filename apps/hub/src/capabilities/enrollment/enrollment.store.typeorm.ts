import type { NodeId, NodeStatus, Page, PageQuery } from '@sendense/contracts'
import { In, IsNull } from 'typeorm'
import { type Db, findPage } from '../../platform/database/index.ts'
import { NodeEntity, PairingCodeEntity } from './enrollment.entities.ts'
import type { EnrollmentStore, Node, NodeChange, PairingCodeRecord } from './enrollment.store.ts'

export class EnrollmentTypeormStore implements EnrollmentStore {
  readonly #db: Db

  constructor(db: Db) {
    this.#db = db
  }

  async addPairingCode(code: PairingCodeRecord): Promise<void> {
    await this.#db.write(manager => manager.insert(PairingCodeEntity, code))
  }

  async findPairingCode(secretSha256: string): Promise<PairingCodeRecord | undefined> {
    const row = await this.#db.read(manager => manager.findOneBy(PairingCodeEntity, { secretSha256 }))
    return row ?? undefined
  }

  enroll(codeId: string, node: Node, usedAt: Date): Promise<boolean> {
    return this.#db.write(async manager => {
      const { affected } = await manager.update(
        PairingCodeEntity,
        { id: codeId, usedAt: IsNull() },
        { usedAt },
      )
      if (affected !== 1) return false
      await manager.insert(NodeEntity, node)
      await manager.update(PairingCodeEntity, { id: codeId }, { nodeId: node.id })
      return true
    })
  }

  async getNode(id: NodeId): Promise<Node | undefined> {
    const row = await this.#db.read(manager => manager.findOneBy(NodeEntity, { id }))
    return row ?? undefined
  }

  listNodes({ status, ...query }: PageQuery & { status?: NodeStatus | undefined }): Promise<Page<Node>> {
    const where = { ...(status !== undefined && { status }) }
    // Ids begin with the time of their making, so their order is the order of the enrollments.
    const order = { by: 'id', direction: 'descending' } as const
    return this.#db.read(manager => findPage(manager.getRepository(NodeEntity), where, order, query))
  }

  async changeNode(id: NodeId, from: readonly NodeStatus[], change: NodeChange): Promise<boolean> {
    const { affected } = await this.#db.write(manager =>
      manager.update(NodeEntity, { id, status: In(from) }, change),
    )
    return affected === 1
  }
}
