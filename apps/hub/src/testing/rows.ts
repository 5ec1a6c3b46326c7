import { NO_LIMITS, NodeId, RepositoryId, type VcenterId, type VmId } from '@sendense/contracts'
import { newId } from '@sendense/platform'
import { aNode } from '../capabilities/enrollment/enrollment.store.suite.ts'
import { EnrollmentTypeormStore } from '../capabilities/enrollment/index.ts'
import { InventoryTypeormStore } from '../capabilities/inventory/index.ts'
import { aDiscoveredVm } from '../capabilities/inventory/inventory.store.suite.ts'
import { RepositoryEntity } from '../capabilities/repositories/repositories.entities.ts'
import { VcentersTypeormStore } from '../capabilities/vcenters/index.ts'
import { aVcenter } from '../capabilities/vcenters/vcenters.store.suite.ts'
import type { Db } from '../platform/database/index.ts'

/** Puts an enrolled Node into the database, for rows that refer to one. */
export async function addNode(db: Db): Promise<NodeId> {
  const store = new EnrollmentTypeormStore(db)
  const [codeId, nodeId] = [newId(), NodeId.parse(newId())]
  const at = new Date(0)
  const code = {
    id: codeId,
    secretSha256: codeId.padEnd(64, '0'),
    createdBy: 'admin',
    createdAt: at,
    expiresAt: at,
  }
  await store.addPairingCode({ ...code, usedAt: null, nodeId: null })
  await store.enroll(codeId, { ...aNode(), id: nodeId }, at)
  return nodeId
}

/** Puts a vCenter of this Node into the database. */
export async function addVcenter(db: Db, nodeId: NodeId): Promise<VcenterId> {
  const vcenter = aVcenter(nodeId)
  await new VcentersTypeormStore(db).add(vcenter)
  return vcenter.id
}

/** Puts a VM of this vCenter into the database. */
export async function addVm(db: Db, vcenterId: VcenterId): Promise<VmId> {
  const [vm] = await new InventoryTypeormStore(db).upsert(vcenterId, [aDiscoveredVm()], new Date(0))
  if (!vm) throw new Error('the VM was not stored')
  return vm.id
}

/** Puts a repository into the database. */
export async function addRepository(db: Db): Promise<RepositoryId> {
  const id = RepositoryId.parse(newId())
  await db.write(manager =>
    manager.insert(RepositoryEntity, {
      id,
      name: id,
      type: 'local',
      place: { type: 'local', path: `/srv/${id}` },
      sealedSecrets: null,
      formatId: id,
      chunkBytes: 1024 * 1024,
      sealedPassword: 'sealed',
      sealedNextPassword: null,
      isEnabled: true,
      limits: NO_LIMITS,
      storage: null,
      removedAt: null,
      createdAt: new Date(0),
    }),
  )
  return id
}
