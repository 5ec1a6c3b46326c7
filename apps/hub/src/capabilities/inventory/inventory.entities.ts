import type { DiscoveredVm, VcenterId, VmId } from '@sendense/contracts'
import { EntitySchema } from 'typeorm'
import { columns } from '../../platform/database/index.ts'

const { id, instant, json, named, text } = columns

/** What vSphere said about a VM, less what has a column of its own. */
export type VmDescription = Omit<DiscoveredVm, 'instanceUuid' | 'moRef' | 'name' | 'powerState'>

export interface VmRow extends Pick<DiscoveredVm, 'instanceUuid' | 'moRef' | 'name' | 'powerState'> {
  id: VmId
  vcenterId: VcenterId
  /** The name in lower case, for searching alike on every database. */
  searchName: string
  /** The name and the id: no two VMs share it, and lists are in its order. */
  sortKey: string
  description: VmDescription
  addedAt: Date
  refreshedAt: Date
}

export const VmEntity = new EntitySchema<VmRow>({
  name: 'Vm',
  tableName: 'vms',
  columns: {
    id: id({ primary: true }),
    vcenterId: named('vcenter_id', id()),
    instanceUuid: named('instance_uuid', text(100)),
    moRef: named('mo_ref', text(100)),
    name: text(255),
    searchName: named('search_name', text(255)),
    sortKey: named('sort_key', text(190)),
    powerState: named('power_state', text(16)),
    description: json(),
    addedAt: named('added_at', instant()),
    refreshedAt: named('refreshed_at', instant()),
  },
  uniques: [{ columns: ['vcenterId', 'instanceUuid'] }, { columns: ['sortKey'] }],
  foreignKeys: [
    {
      target: 'Vcenter',
      columnNames: ['vcenterId'],
      referencedColumnNames: ['id'],
      onDelete: 'RESTRICT',
      onUpdate: 'NO ACTION',
    },
  ],
})

export const InventoryEntities = [VmEntity]
