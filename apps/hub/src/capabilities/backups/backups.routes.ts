import { backupRoutes } from '@sendense/contracts'
import { type Authenticate, bindRoutes } from '@sendense/platform'
import type { Router } from 'express'
import type { BackupsService } from './backups.service.ts'

/** Binds the backups. */
export function mountBackups(router: Router, backups: BackupsService, authenticate: Authenticate): void {
  bindRoutes(
    router,
    backupRoutes,
    {
      startBackup: ({ body }) => backups.start(body),
      listBackups: ({ query }) => backups.list(query),
      getBackupChain: ({ query }) => backups.chain(query.vmId, query.repositoryId),
      getChangeId: ({ query }) => backups.changeId(query.vmId, query.repositoryId, query.diskKey),
      getBackup: ({ params }) => backups.get(params.backupId),
      verifyBackup: ({ params }) => backups.verify(params.backupId),
      restoreDisk: ({ params, body }) => backups.restoreDisk(params.backupId, body),
    },
    { authenticate },
  )
}
