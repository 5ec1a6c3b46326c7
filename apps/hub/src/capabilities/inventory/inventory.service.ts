import type {
  DiscoveredVm,
  NodeId,
  NodeMethods,
  Page,
  PageQuery,
  TunnelCaller,
  VcenterId,
  VmId,
  Vm as VmView,
} from '@sendense/contracts'
import { AppError, type Clock } from '@sendense/platform'
import type { VcentersService } from '../vcenters/index.ts'
import type { InventoryStore, Vm, VmFilter } from './inventory.store.ts'

interface Options {
  store: InventoryStore
  clock: Clock
  vcenters: Pick<VcentersService, 'find' | 'accessOf'>
  tunnels: { call(nodeId: NodeId): TunnelCaller<NodeMethods> }
}

/** Discovery, and the VMs that people chose. */
export class InventoryService {
  readonly #options: Options

  constructor(options: Options) {
    this.#options = options
  }

  async discover(vcenterId: VcenterId, nameContains?: string) {
    const { store, clock } = this.#options
    const startedAt = clock.now()
    const found = await this.#ask(vcenterId, { ...(nameContains !== undefined && { nameContains }) })
    const known = await store.idsOf(vcenterId)
    const refreshed = found.filter(vm => known.has(vm.instanceUuid))
    await store.upsert(vcenterId, refreshed, startedAt)
    return {
      vcenterId,
      durationMs: clock.now().getTime() - startedAt.getTime(),
      vms: found
        .map(vm => ({ ...vm, vmId: known.get(vm.instanceUuid) ?? null }))
        .sort((one, other) => one.name.localeCompare(other.name)),
    }
  }

  async add(vcenterId: VcenterId, instanceUuids: readonly string[]) {
    const { store, clock } = this.#options
    const wanted = new Set(instanceUuids)
    const found = await this.#ask(vcenterId, { instanceUuids: [...wanted] })
    const usable = found.filter(vm => wanted.has(vm.instanceUuid) && !vm.isTemplate)
    const added = await store.upsert(vcenterId, usable, clock.now())
    const missing = [...wanted].filter(uuid => !usable.some(vm => vm.instanceUuid === uuid))
    return { added: added.map(view), failed: missing.map(uuid => refusal(uuid, found)) }
  }

  async list(query: PageQuery & VmFilter): Promise<Page<VmView>> {
    const page = await this.#options.store.list(query)
    return { ...page, items: page.items.map(view) }
  }

  async get(id: VmId): Promise<VmView> {
    return view(await this.find(id))
  }

  /** The record itself, for other capabilities. Fails with `not-found`. */
  async find(id: VmId): Promise<Vm> {
    const vm = await this.#options.store.get(id)
    if (!vm) throw new AppError('not-found', { detail: `There is no VM ${id} in the inventory.` })
    return vm
  }

  async #ask(
    vcenterId: VcenterId,
    filter: { nameContains?: string; instanceUuids?: string[] },
  ): Promise<DiscoveredVm[]> {
    const { vcenters, tunnels } = this.#options
    const vcenter = await vcenters.find(vcenterId)
    const { vms } = await tunnels
      .call(vcenter.nodeId)
      .discoverVms({ vcenter: vcenters.accessOf(vcenter), ...filter })
    return vms
  }
}

function refusal(instanceUuid: string, found: readonly DiscoveredVm[]) {
  const template = found.find(vm => vm.instanceUuid === instanceUuid)
  if (template) {
    const detail = `"${template.name}" is a template: vSphere takes no snapshots of templates.`
    return { instanceUuid, code: 'conflict' as const, detail }
  }
  return { instanceUuid, code: 'vm-not-found' as const, detail: `The vCenter has no VM ${instanceUuid}.` }
}

function view(vm: Vm): VmView {
  return { ...vm, addedAt: vm.addedAt.toISOString(), refreshedAt: vm.refreshedAt.toISOString() }
}
