import { EntitySchema } from 'typeorm'
import { columns } from '../../platform/database/index.ts'
import type { Vcenter } from './vcenters.store.ts'

const { id, instant, int, longText, named, text } = columns

export const VcenterEntity = new EntitySchema<Vcenter>({
  name: 'Vcenter',
  tableName: 'vcenters',
  columns: {
    id: id({ primary: true }),
    name: text(100),
    nodeId: named('node_id', id()),
    host: text(255),
    port: int(),
    username: text(200),
    thumbprint: text(64),
    sealedCredentials: named('sealed_credentials', longText()),
    instanceUuid: named('instance_uuid', text(64)),
    version: text(50),
    createdAt: named('created_at', instant()),
  },
  uniques: [{ columns: ['name'] }],
  foreignKeys: [
    {
      target: 'Node',
      columnNames: ['nodeId'],
      referencedColumnNames: ['id'],
      onDelete: 'RESTRICT',
      onUpdate: 'NO ACTION',
    },
  ],
})

export const VcenterEntities = [VcenterEntity]
