import { type DiscoveredVm, reasonOf, type VcenterId, VmId } from '@sendense/contracts'
import { newId } from '@sendense/platform'
import { describe, expect, test } from 'vitest'
import type { InventoryStore } from './inventory.store.ts'

const AT = new Date('2026-01-01T00:00:00.123Z')
const LATER = new Date('2026-01-02T00:00:00.456Z')

/** What every store of the inventory promises. `open` gives a store and a vCenter that VMs may refer to. */
export function inventoryStoreSuite(
  name: string,
  open: () => Promise<{ store: InventoryStore; vcenterId: VcenterId }>,
): void {
  describe(name, () => {
    test('a VM comes back as it was discovered, with an id of ours', async () => {
      const { store, vcenterId } = await open()
      const vm = aDiscoveredVm({ name: 'データ [1]', folderPath: '/Süd/%2f' })
      const [stored] = await store.upsert(vcenterId, [vm], AT)
      expect(stored).toEqual({ ...vm, id: stored?.id, vcenterId, addedAt: AT, refreshedAt: AT })
      expect(await store.get(stored?.id ?? anId())).toEqual(stored)
      expect(await store.get(anId())).toBeUndefined()
    })

    test('a VM that is there already is refreshed and keeps its id', async () => {
      const { store, vcenterId } = await open()
      const vm = aDiscoveredVm()
      const [first] = await store.upsert(vcenterId, [vm], AT)
      const [second] = await store.upsert(vcenterId, [{ ...vm, name: 'renamed', moRef: 'vm-99' }], LATER)
      expect(second).toMatchObject({
        id: first?.id,
        name: 'renamed',
        moRef: 'vm-99',
        addedAt: AT,
        refreshedAt: LATER,
      })
      expect((await store.list({ limit: 10 })).items).toHaveLength(1)
    })

    test('VMs of the same name are told apart by their instance UUID', async () => {
      const { store, vcenterId } = await open()
      const [one, other] = [aDiscoveredVm(), aDiscoveredVm()]
      await store.upsert(vcenterId, [one, other], AT)
      const ids = await store.idsOf(vcenterId)
      expect([...ids.keys()].sort()).toEqual([one.instanceUuid, other.instanceUuid].sort())
      expect((await store.list({ limit: 10 })).items).toHaveLength(2)
    })

    test('VMs are listed by name, page by page, and found by a part of it', async () => {
      const { store, vcenterId } = await open()
      const names = ['web2', 'db1', 'Web1', 'a_b', 'a%b']
      await store.upsert(
        vcenterId,
        names.map(name => aDiscoveredVm({ name })),
        AT,
      )
      const listed: string[] = []
      let cursor: string | undefined
      do {
        const page = await store.list({ limit: 2, ...(cursor && { cursor }) })
        listed.push(...page.items.map(vm => vm.name))
        cursor = page.nextCursor
      } while (cursor)
      expect(listed.toSorted()).toEqual(names.toSorted())
      const found = await store.list({ limit: 10, search: 'WEB' })
      expect(found.items.map(vm => vm.name).toSorted()).toEqual(['Web1', 'web2'])
      expect((await store.list({ limit: 10, search: '_' })).items.map(vm => vm.name)).toEqual(['a_b'])
      expect((await store.list({ limit: 10, search: '%' })).items.map(vm => vm.name)).toEqual(['a%b'])
    })

    test('VMs are filtered by power state', async () => {
      const { store, vcenterId } = await open()
      await store.upsert(
        vcenterId,
        [aDiscoveredVm({ powerState: 'on' }), aDiscoveredVm({ powerState: 'off' })],
        AT,
      )
      expect((await store.list({ limit: 10, powerState: 'off', vcenterId })).items).toHaveLength(1)
    })
  })
}

const anId = () => VmId.parse(newId())

/** A VM with an independent disk beside an ordinary one. */
export function aDiscoveredVm(overrides: Partial<DiscoveredVm> = {}): DiscoveredVm {
  const disk = {
    backing: '[ds1] vm/disk.vmdk',
    uuid: '6000c29a-0000-0000-0000-000000000001',
    datastore: 'ds1',
    capacityBytes: 64 * 1024 ** 3,
  }
  return {
    instanceUuid: newId(),
    moRef: 'vm-42',
    name: 'db1',
    folderPath: '/dc/vm',
    datacenter: 'dc',
    host: 'esx1',
    powerState: 'on',
    guestOs: 'Debian GNU/Linux 12 (64-bit)',
    firmware: 'efi',
    cpuCount: 2,
    memoryMb: 4096,
    isTemplate: false,
    isChangeTracked: true,
    hasSnapshots: false,
    disks: [
      { ...disk, key: 2000, label: 'Hard disk 1', mode: 'persistent', excluded: null },
      {
        ...disk,
        key: 2001,
        label: 'Hard disk 2',
        mode: 'independent_persistent',
        excluded: reasonOf('disk-independent'),
      },
    ],
    nics: [
      { key: 4000, label: 'NIC 1', type: 'vmxnet3', macAddress: '00:50:56:00:00:01', network: 'VM Network' },
    ],
    ...overrides,
  }
}
