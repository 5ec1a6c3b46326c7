import { type NodeId, VcenterId } from '@sendense/contracts'
import { newId } from '@sendense/platform'
import { describe, expect, test } from 'vitest'
import type { Vcenter, VcentersStore } from './vcenters.store.ts'

/** A store, and a Node that vCenters may refer to. */
export interface OpenedVcentersStore {
  store: VcentersStore
  nodeId: NodeId
  /** Makes a VM refer to the vCenter. */
  use(id: VcenterId): Promise<void>
}

/** What every store of vCenters promises. */
export function vcentersStoreSuite(name: string, open: () => Promise<OpenedVcentersStore>): void {
  describe(name, () => {
    test('a vCenter comes back as it was stored', async () => {
      const { store, nodeId } = await open()
      const vcenter = aVcenter(nodeId)
      await store.add(vcenter)
      expect(await store.get(vcenter.id)).toEqual(vcenter)
      expect(await store.get(VcenterId.parse(newId()))).toBeUndefined()
    })

    test('a name is taken once', async () => {
      const { store, nodeId } = await open()
      await store.add(aVcenter(nodeId))
      await expect(store.add(aVcenter(nodeId))).rejects.toMatchObject({ code: 'conflict' })
    })

    test('vCenters are listed by name, page by page', async () => {
      const { store, nodeId } = await open()
      for (const name of ['c', 'a', 'b']) await store.add({ ...aVcenter(nodeId), name })
      const first = await store.list({ limit: 2 })
      const second = await store.list({ limit: 2, ...(first.nextCursor && { cursor: first.nextCursor }) })
      expect([...first.items, ...second.items].map(one => one.name)).toEqual(['a', 'b', 'c'])
      expect(second.nextCursor).toBeUndefined()
    })

    test('one that VMs refer to is not removed', async () => {
      const { store, nodeId, use } = await open()
      const vcenter = aVcenter(nodeId)
      await store.add(vcenter)
      await use(vcenter.id)
      await expect(store.remove(vcenter.id)).rejects.toMatchObject({ code: 'vcenter-in-use' })
      expect(await store.get(vcenter.id)).toBeDefined()
    })

    test('removing tells whether there was one', async () => {
      const { store, nodeId } = await open()
      const vcenter = aVcenter(nodeId)
      await store.add(vcenter)
      expect(await store.remove(vcenter.id)).toBe(true)
      expect(await store.remove(vcenter.id)).toBe(false)
    })
  })
}

/** A vCenter of this Node. */
export function aVcenter(nodeId: NodeId): Vcenter {
  return {
    id: VcenterId.parse(newId()),
    name: 'vc.example',
    nodeId,
    host: 'vc.example',
    port: 443,
    username: 'backup@vsphere.local',
    thumbprint: 'ab'.repeat(32),
    sealedCredentials: 'c2VhbGVk'.repeat(20),
    instanceUuid: '4c4c4544-0000-2010-8020-80c04f202020',
    version: '8.0.3',
    createdAt: new Date('2026-01-01T00:00:00.123Z'),
  }
}
