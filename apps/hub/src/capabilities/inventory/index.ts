export { mountInventory } from './inventory.routes.ts'
export { InventoryService } from './inventory.service.ts'
export type { Vm } from './inventory.store.ts'
export { InventoryTypeormStore } from './inventory.store.typeorm.ts'
