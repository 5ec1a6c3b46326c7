import { VcenterId } from '@sendense/contracts'
import { newId } from '@sendense/platform'
import { InventoryMemoryStore } from './inventory.store.memory.ts'
import { inventoryStoreSuite } from './inventory.store.suite.ts'

inventoryStoreSuite('the fake store of the inventory', async () => ({
  store: new InventoryMemoryStore(),
  vcenterId: VcenterId.parse(newId()),
}))
