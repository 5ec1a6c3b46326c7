import { NodeId, RepositoryId, VmId } from '@sendense/contracts'
import { newId } from '@sendense/platform'
import { BackupsMemoryStore } from './backups.store.memory.ts'
import { backupsStoreSuite } from './backups.store.suite.ts'

backupsStoreSuite('the fake store of backups', async () => ({
  store: new BackupsMemoryStore(),
  vmId: VmId.parse(newId()),
  repositoryId: RepositoryId.parse(newId()),
  nodeId: NodeId.parse(newId()),
}))
