import { testDatabases } from '../../testing/test-database.ts'
import { jobsStoreSuite } from './jobs.store.suite.ts'
import { JobsTypeormStore } from './jobs.store.typeorm.ts'

const databases = testDatabases()
jobsStoreSuite(
  `the jobs store on ${databases.kind}`,
  async () => new JobsTypeormStore(await databases.open()),
)
