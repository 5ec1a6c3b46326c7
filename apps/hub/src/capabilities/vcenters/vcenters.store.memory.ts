import type { Page, PageQuery, VcenterId } from '@sendense/contracts'
import { AppError } from '@sendense/platform'
import { pageOfArray } from '../../testing/page-of-array.ts'
import type { Vcenter, VcentersStore } from './vcenters.store.ts'

/** The fake: passes the same suite as the real store. */
export class VcentersMemoryStore implements VcentersStore {
  readonly #vcenters = new Map<VcenterId, Vcenter>()
  readonly #used: ReadonlySet<VcenterId>

  /** @param used vCenters that VMs refer to; the real store knows it from the tables. */
  constructor(used: ReadonlySet<VcenterId> = new Set()) {
    this.#used = used
  }

  async add(vcenter: Vcenter): Promise<void> {
    for (const { name } of this.#vcenters.values()) if (name === vcenter.name) throw new AppError('conflict')
    this.#vcenters.set(vcenter.id, { ...vcenter })
  }

  async get(id: VcenterId): Promise<Vcenter | undefined> {
    const vcenter = this.#vcenters.get(id)
    return vcenter && { ...vcenter }
  }

  async list(query: PageQuery): Promise<Page<Vcenter>> {
    return pageOfArray([...this.#vcenters.values()], query, vcenter => vcenter.name, 'ascending')
  }

  async remove(id: VcenterId): Promise<boolean> {
    if (this.#used.has(id)) throw new AppError('vcenter-in-use')
    return this.#vcenters.delete(id)
  }
}
