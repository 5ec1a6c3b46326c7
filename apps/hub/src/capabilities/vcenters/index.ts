export { mountVcenters } from './vcenters.routes.ts'
export { VcentersService } from './vcenters.service.ts'
export type { Vcenter } from './vcenters.store.ts'
export { VcentersTypeormStore } from './vcenters.store.typeorm.ts'
