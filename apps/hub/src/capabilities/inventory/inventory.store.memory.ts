import { type DiscoveredVm, type Page, type PageQuery, type VcenterId, VmId } from '@sendense/contracts'
import { newId } from '@sendense/platform'
import { pageOfArray } from '../../testing/page-of-array.ts'
import type { InventoryStore, Vm, VmFilter } from './inventory.store.ts'

/** The fake: passes the same suite as the real store. */
export class InventoryMemoryStore implements InventoryStore {
  readonly #vms = new Map<VmId, Vm>()

  async get(id: VmId): Promise<Vm | undefined> {
    return structuredClone(this.#vms.get(id))
  }

  async list({ search, vcenterId, powerState, ...query }: PageQuery & VmFilter): Promise<Page<Vm>> {
    const found = [...this.#vms.values()].filter(
      vm =>
        (search === undefined || vm.name.toLowerCase().includes(search.toLowerCase())) &&
        (vcenterId === undefined || vm.vcenterId === vcenterId) &&
        (powerState === undefined || vm.powerState === powerState),
    )
    return structuredClone(pageOfArray(found, query, vm => `${vm.name}\u0000${vm.id}`, 'ascending'))
  }

  async idsOf(vcenterId: VcenterId): Promise<Map<string, VmId>> {
    const ours = [...this.#vms.values()].filter(vm => vm.vcenterId === vcenterId)
    return new Map(ours.map(vm => [vm.instanceUuid, vm.id]))
  }

  async upsert(vcenterId: VcenterId, vms: readonly DiscoveredVm[], at: Date): Promise<Vm[]> {
    const ids = await this.idsOf(vcenterId)
    return vms.map(vm => {
      const known = ids.get(vm.instanceUuid)
      const id = known ?? VmId.parse(newId())
      const addedAt = (known && this.#vms.get(known)?.addedAt) ?? at
      const stored = structuredClone({ ...vm, id, vcenterId, addedAt, refreshedAt: at })
      this.#vms.set(id, stored)
      return structuredClone(stored)
    })
  }
}
