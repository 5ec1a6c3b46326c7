import type { DiscoveredVm, Page, PageQuery, VcenterId, VmId } from '@sendense/contracts'

/** A VM of the inventory: what vSphere said about it last, and our identity for it. */
export interface Vm extends DiscoveredVm {
  id: VmId
  vcenterId: VcenterId
  addedAt: Date
  refreshedAt: Date
}

export interface VmFilter {
  search?: string | undefined
  vcenterId?: VcenterId | undefined
  powerState?: Vm['powerState'] | undefined
}

export interface InventoryStore {
  get(id: VmId): Promise<Vm | undefined>
  /** By name, then by id. `search` ignores case. */
  list(query: PageQuery & VmFilter): Promise<Page<Vm>>
  /** The ids of the VMs of a vCenter that are in the inventory, by instance UUID. */
  idsOf(vcenterId: VcenterId): Promise<Map<string, VmId>>
  /** Adds VMs, or refreshes the ones that are there; answers with what is stored now, in the same order. */
  upsert(vcenterId: VcenterId, vms: readonly DiscoveredVm[], at: Date): Promise<Vm[]>
}
