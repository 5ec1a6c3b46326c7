import { NodeId, type VcenterId } from '@sendense/contracts'
import { newId } from '@sendense/platform'
import { VcentersMemoryStore } from './vcenters.store.memory.ts'
import { vcentersStoreSuite } from './vcenters.store.suite.ts'

vcentersStoreSuite('the fake store of vCenters', async () => {
  const used = new Set<VcenterId>()
  return {
    store: new VcentersMemoryStore(used),
    nodeId: NodeId.parse(newId()),
    use: async id => void used.add(id),
  }
})
