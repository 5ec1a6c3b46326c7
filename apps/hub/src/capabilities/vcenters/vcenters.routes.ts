import { vcenterRoutes } from '@sendense/contracts'
import { type Authenticate, bindRoutes } from '@sendense/platform'
import type { Router } from 'express'
import type { VcentersService } from './vcenters.service.ts'

/** Binds the vCenters. */
export function mountVcenters(router: Router, vcenters: VcentersService, authenticate: Authenticate): void {
  bindRoutes(
    router,
    vcenterRoutes,
    {
      createVcenter: ({ body }, { principal }) => vcenters.create(principal, body),
      listVcenters: ({ query }) => vcenters.list(query),
      getVcenter: ({ params }) => vcenters.get(params.vcenterId),
      deleteVcenter: ({ params }, { principal }) => vcenters.remove(principal, params.vcenterId),
    },
    { authenticate },
  )
}
