import { inventoryRoutes } from '@sendense/contracts'
import { type Authenticate, bindRoutes } from '@sendense/platform'
import type { Router } from 'express'
import type { InventoryService } from './inventory.service.ts'

/** Binds discovery and the VMs. */
export function mountInventory(
  router: Router,
  inventory: InventoryService,
  authenticate: Authenticate,
): void {
  bindRoutes(
    router,
    inventoryRoutes,
    {
      discoverVms: ({ body }) => inventory.discover(body.vcenterId, body.nameContains),
      addVms: ({ body }) => inventory.add(body.vcenterId, body.instanceUuids),
      listVms: ({ query }) => inventory.list(query),
      getVm: ({ params }) => inventory.get(params.vmId),
    },
    { authenticate },
  )
}
