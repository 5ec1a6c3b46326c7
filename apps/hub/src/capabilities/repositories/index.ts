export { createRepositories, type Repositories } from './create-repositories.ts'
export type { RepositoryCheck } from './repositories.jobs.ts'
export { mountRepositories } from './repositories.routes.ts'
export { RepositoriesTypeormStore } from './repositories.store.typeorm.ts'
