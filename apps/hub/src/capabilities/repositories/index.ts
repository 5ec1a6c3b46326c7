export { mountRepositories } from './repositories.routes.ts'
export { RepositoriesService } from './repositories.service.ts'
export { RepositoriesTypeormStore } from './repositories.store.typeorm.ts'
