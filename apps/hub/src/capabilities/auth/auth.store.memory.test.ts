import { AuthMemoryStore } from './auth.store.memory.ts'
import { authStoreSuite } from './auth.store.suite.ts'

authStoreSuite('the auth store in memory', async () => new AuthMemoryStore())
