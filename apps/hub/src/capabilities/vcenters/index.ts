export { mountVcenters } from './vcenters.routes.ts'
export { VcentersService } from './vcenters.service.ts'
export { VcentersTypeormStore } from './vcenters.store.typeorm.ts'
