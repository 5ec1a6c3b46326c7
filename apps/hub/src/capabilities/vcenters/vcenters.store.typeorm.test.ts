import { addNode } from '../../testing/rows.ts'
import { testDatabases } from '../../testing/test-database.ts'
import { InventoryTypeormStore } from '../inventory/index.ts'
import { aDiscoveredVm } from '../inventory/inventory.store.suite.ts'
import { vcentersStoreSuite } from './vcenters.store.suite.ts'
import { VcentersTypeormStore } from './vcenters.store.typeorm.ts'

const databases = testDatabases()
vcentersStoreSuite(`the store of vCenters on ${databases.kind}`, async () => {
  const db = await databases.open()
  return {
    store: new VcentersTypeormStore(db),
    nodeId: await addNode(db),
    use: async id => {
      await new InventoryTypeormStore(db).upsert(id, [aDiscoveredVm()], new Date(0))
    },
  }
})
