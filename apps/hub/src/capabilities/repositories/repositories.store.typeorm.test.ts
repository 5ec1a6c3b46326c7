import { testDatabases } from '../../testing/test-database.ts'
import { repositoriesStoreSuite } from './repositories.store.suite.ts'
import { RepositoriesTypeormStore } from './repositories.store.typeorm.ts'

const databases = testDatabases()
repositoriesStoreSuite(
  `the repositories store on ${databases.kind}`,
  async () => new RepositoriesTypeormStore(await databases.open()),
)
