import { EnrollmentMemoryStore } from './enrollment.store.memory.ts'
import { enrollmentStoreSuite } from './enrollment.store.suite.ts'

enrollmentStoreSuite('the fake store of enrollments', async () => new EnrollmentMemoryStore())
