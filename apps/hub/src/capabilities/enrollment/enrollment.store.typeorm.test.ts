import { testDatabases } from '../../testing/test-database.ts'
import { enrollmentStoreSuite } from './enrollment.store.suite.ts'
import { EnrollmentTypeormStore } from './enrollment.store.typeorm.ts'

const databases = testDatabases()
enrollmentStoreSuite(
  `the store of enrollments on ${databases.kind}`,
  async () => new EnrollmentTypeormStore(await databases.open()),
)
