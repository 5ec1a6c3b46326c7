import { RepositoriesMemoryStore } from './repositories.store.memory.ts'
import { repositoriesStoreSuite } from './repositories.store.suite.ts'

repositoriesStoreSuite('the repositories store in memory', async () => new RepositoriesMemoryStore())
