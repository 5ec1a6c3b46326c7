import { testDatabases } from '../../testing/test-database.ts'
import { authStoreSuite } from './auth.store.suite.ts'
import { AuthTypeormStore } from './auth.store.typeorm.ts'

const databases = testDatabases()
authStoreSuite(
  `the auth store on ${databases.kind}`,
  async () => new AuthTypeormStore(await databases.open()),
)
