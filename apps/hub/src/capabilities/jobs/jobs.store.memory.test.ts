import { JobsMemoryStore } from './jobs.store.memory.ts'
import { jobsStoreSuite } from './jobs.store.suite.ts'

jobsStoreSuite('the jobs store in memory', async () => new JobsMemoryStore())
