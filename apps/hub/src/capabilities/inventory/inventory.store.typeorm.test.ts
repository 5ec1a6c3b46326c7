import { addNode, addVcenter } from '../../testing/rows.ts'
import { testDatabases } from '../../testing/test-database.ts'
import { inventoryStoreSuite } from './inventory.store.suite.ts'
import { InventoryTypeormStore } from './inventory.store.typeorm.ts'

const databases = testDatabases()
inventoryStoreSuite(`the store of the inventory on ${databases.kind}`, async () => {
  const db = await databases.open()
  return { store: new InventoryTypeormStore(db), vcenterId: await addVcenter(db, await addNode(db)) }
})
