import type { Page, PageQuery, VcenterId } from '@sendense/contracts'
import { AppError } from '@sendense/platform'
import { type Db, findPage, isReferenceViolation, isUniqueViolation } from '../../platform/database/index.ts'
import { VcenterEntity } from './vcenters.entities.ts'
import type { Vcenter, VcentersStore } from './vcenters.store.ts'

export class VcentersTypeormStore implements VcentersStore {
  readonly #db: Db

  constructor(db: Db) {
    this.#db = db
  }

  async add(vcenter: Vcenter): Promise<void> {
    try {
      await this.#db.write(manager => manager.insert(VcenterEntity, vcenter))
    } catch (cause) {
      if (!isUniqueViolation(cause)) throw cause
      throw new AppError('conflict', { detail: `There is a vCenter "${vcenter.name}" already.`, cause })
    }
  }

  async get(id: VcenterId): Promise<Vcenter | undefined> {
    const row = await this.#db.read(manager => manager.findOneBy(VcenterEntity, { id }))
    return row ?? undefined
  }

  list(query: PageQuery): Promise<Page<Vcenter>> {
    const order = { by: 'name', direction: 'ascending' } as const
    return this.#db.read(manager => findPage(manager.getRepository(VcenterEntity), {}, order, query))
  }

  async remove(id: VcenterId): Promise<boolean> {
    try {
      const { affected } = await this.#db.write(manager => manager.delete(VcenterEntity, { id }))
      return affected === 1
    } catch (cause) {
      if (!isReferenceViolation(cause)) throw cause
      throw new AppError('vcenter-in-use', { cause })
    }
  }
}
