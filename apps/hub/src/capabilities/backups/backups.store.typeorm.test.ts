import { addNode, addRepository, addVcenter, addVm } from '../../testing/rows.ts'
import { testDatabases } from '../../testing/test-database.ts'
import { backupsStoreSuite } from './backups.store.suite.ts'
import { BackupsTypeormStore } from './backups.store.typeorm.ts'

const databases = testDatabases()
backupsStoreSuite(`the store of backups on ${databases.kind}`, async () => {
  const db = await databases.open()
  const nodeId = await addNode(db)
  const vmId = await addVm(db, await addVcenter(db, nodeId))
  return { store: new BackupsTypeormStore(db), vmId, repositoryId: await addRepository(db), nodeId }
})
