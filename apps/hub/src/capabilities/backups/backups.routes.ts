import { backupRoutes } from '@sendense/contracts'
import { type Authenticate, bindRoutes } from '@sendense/platform'
import type { Router } from 'express'
import type { BackupsService } from './backups.service.ts'
import type { RestorePointsService } from './restore-points.service.ts'

/** Binds the backups. */
export function mountBackups(
  router: Router,
  { service: backups, restorePoints }: { service: BackupsService; restorePoints: RestorePointsService },
  authenticate: Authenticate,
): void {
  bindRoutes(
    router,
    backupRoutes,
    {
      startBackup: ({ body }) => backups.start(body),
      listBackups: ({ query }) => backups.list(query),
      getBackupChain: ({ query }) => backups.chain(query.vmId, query.repositoryId),
      getChangeId: ({ query }) => backups.changeId(query.vmId, query.repositoryId, query.diskKey),
      getBackup: ({ params }) => restorePoints.details(params.backupId),
      deleteBackup: ({ params }, { principal }) => restorePoints.remove(principal, params.backupId),
      listBackupCopies: ({ params }) => restorePoints.copies(params.backupId),
      copyBackup: ({ params, body }) => restorePoints.copy(params.backupId, body.repositoryId),
      forgetRestorePoints: ({ params, body }) => restorePoints.forget(params.repositoryId, body),
      verifyBackup: ({ params }) => backups.verify(params.backupId),
      restoreDisk: ({ params, body }) => backups.restoreDisk(params.backupId, body),
    },
    { authenticate },
  )
}
