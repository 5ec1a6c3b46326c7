import { type DiscoveredVm, type Page, type PageQuery, type VcenterId, VmId } from '@sendense/contracts'
import { newId } from '@sendense/platform'
import { Raw } from 'typeorm'
import { type Db, findPage } from '../../platform/database/index.ts'
import { VmEntity, type VmRow } from './inventory.entities.ts'
import type { InventoryStore, Vm, VmFilter } from './inventory.store.ts'

/** Rows a statement: far below the limits of parameters on both databases. */
const BATCH = 100

export class InventoryTypeormStore implements InventoryStore {
  readonly #db: Db

  constructor(db: Db) {
    this.#db = db
  }

  async get(id: VmId): Promise<Vm | undefined> {
    const row = await this.#db.read(manager => manager.findOneBy(VmEntity, { id }))
    return row ? toVm(row) : undefined
  }

  async list({ search, vcenterId, powerState, ...query }: PageQuery & VmFilter): Promise<Page<Vm>> {
    const where = {
      ...(search !== undefined && { searchName: contains(search) }),
      ...(vcenterId !== undefined && { vcenterId }),
      ...(powerState !== undefined && { powerState }),
    }
    const order = { by: 'sortKey', direction: 'ascending' } as const
    const page = await this.#db.read(manager =>
      findPage(manager.getRepository(VmEntity), where, order, query),
    )
    return { ...page, items: page.items.map(toVm) }
  }

  async idsOf(vcenterId: VcenterId): Promise<Map<string, VmId>> {
    const rows = await this.#db.read(manager =>
      manager.find(VmEntity, { where: { vcenterId }, select: { id: true, instanceUuid: true } }),
    )
    return new Map(rows.map(row => [row.instanceUuid, row.id]))
  }

  upsert(vcenterId: VcenterId, vms: readonly DiscoveredVm[], at: Date): Promise<Vm[]> {
    return this.#db.write(async manager => {
      const known = await manager.findBy(VmEntity, { vcenterId })
      const before = new Map(known.map(row => [row.instanceUuid, row]))
      const rows = vms.map(vm => toRow(vm, vcenterId, at, before.get(vm.instanceUuid)))
      for (let start = 0; start < rows.length; start += BATCH) {
        await manager.upsert(VmEntity, rows.slice(start, start + BATCH), ['id'])
      }
      return rows.map(toVm)
    })
  }
}

function contains(search: string) {
  const pattern = `%${search.toLowerCase().replaceAll(/[!%_]/g, '!$&')}%`
  return Raw(column => `${column} LIKE :pattern ESCAPE '!'`, { pattern })
}

function toRow(vm: DiscoveredVm, vcenterId: VcenterId, at: Date, before: VmRow | undefined): VmRow {
  const { instanceUuid, moRef, name, powerState, ...description } = vm
  const id = before?.id ?? VmId.parse(newId())
  return {
    id,
    vcenterId,
    instanceUuid,
    moRef,
    name,
    powerState,
    description,
    searchName: name.toLowerCase(),
    sortKey: `${name.toLowerCase().slice(0, 150)} ${id}`,
    addedAt: before?.addedAt ?? at,
    refreshedAt: at,
  }
}

function toVm({ description, searchName: _searchName, sortKey: _sortKey, ...row }: VmRow): Vm {
  return { ...description, ...row }
}
