import { BackupId, CAPTURE_STEPS, type CaptureStep, type Failure, RepositoryId } from '@sendense/contracts'
import { AppError, type Clock } from '@sendense/platform'
import { z } from 'zod'
import type { Engine } from '../../platform/engine/engine.ts'
import { bounded, damageOf, type JobDefinition, type Recovery, reportBytes } from '../jobs/index.ts'
import type { BackupsPorts } from './backups.ports.ts'
import type { Backup, BackupsStore } from './backups.store.ts'
import { readRestorePoint } from './missing-restore-point.ts'
import { recoverCommitted } from './recover-committed.ts'
import { BackupInput, type RunBackupOptions, runBackup } from './run-backup.ts'

const DAY_MS = 24 * 60 * 60 * 1000

/** What a verify job is started with. */
export const VerifyInput = z.object({
  backupId: BackupId,
  repositoryId: RepositoryId,
  restorePointId: z.string(),
})
export type VerifyInput = z.output<typeof VerifyInput>

/** What a restore job is started with. */
export const RestoreDiskInput = VerifyInput.extend({
  diskKey: z.int(),
  file: z.string(),
  targetPath: z.string(),
  overwrite: z.boolean(),
})
export type RestoreDiskInput = z.output<typeof RestoreDiskInput>

const CAPTURE_TITLES: Record<CaptureStep, string> = {
  prepare: 'Prepare the VM',
  snapshot: 'Take the vSphere snapshot',
  read: 'Read the disks',
  commit: 'Make the restore point',
  'clean-up': 'Remove the vSphere snapshot',
}

/** The job that makes a restore point. The Node reports its steps. */
export function backupJob(options: RunBackupOptions): JobDefinition<BackupInput> {
  return {
    kind: 'backup',
    input: BackupInput,
    steps: CAPTURE_STEPS.map(name => ({ name, title: CAPTURE_TITLES[name] })),
    timeoutMs: 7 * DAY_MS,
    run: run => runBackup(run.input, run, options),
    recover: ({ input, isCancelling }) => recoverBackup(input, isCancelling, options),
  }
}

/**
 * The process of the Hub that ran this backup is gone. Either its restore point was committed, then the backup has
 * succeeded; or there is none, then it has failed, and what was stored serves the next one.
 */
async function recoverBackup(
  { backupId }: BackupInput,
  isCancelling: boolean,
  options: RunBackupOptions,
): Promise<Recovery> {
  const { store, clock } = options
  const backup = await store.get(backupId)
  if (backup?.status === 'running') {
    const failure = await recoverFrom(backup, options)
    // The backup stays as it is: `settleBackup` asks again.
    if (failure) return isCancelling ? { next: 'cancel' } : { next: 'fail', failure }
  }
  const settled = await store.get(backupId)
  if (settled?.status === 'succeeded') {
    return { next: 'succeed', result: { backupId, restorePointId: settled.restorePointId } }
  }
  const code = isCancelling ? 'job-cancelled' : 'job-interrupted'
  const detail = 'The Hub was restarted during the backup. Run it again: what was stored is not sent again.'
  const failure = new AppError(code, isCancelling ? {} : { detail }).toFailure()
  await store.end(backupId, isCancelling ? 'cancelled' : 'failed', failure, clock.now())
  return isCancelling ? { next: 'cancel' } : { next: 'fail', failure }
}

/** Looks for the restore point of an interrupted backup. Why its repository cannot be asked, if it cannot. */
async function recoverFrom(
  backup: Backup,
  { ports, log, ...options }: RunBackupOptions,
): Promise<Failure | undefined> {
  try {
    const { repository } = await ports.repositories.open(backup.repositoryId)
    await recoverCommitted(backup, repository, { ...options, log })
    return undefined
  } catch (cause) {
    log.error('A backup cannot be looked for in its repository', { backupId: backup.id, cause })
    const why = AppError.from(cause).toFailure().detail
    const detail = `The Hub was restarted during the backup, and its repository cannot be asked for it. ${why}`
    return new AppError('job-interrupted', { detail }).toFailure()
  }
}

interface ReadOptions {
  store: Pick<BackupsStore, 'markVerified' | 'markMissing' | 'markDamaged'>
  repositories: BackupsPorts['repositories']
  clock: Clock
}

/** The job that reads a restore point back, byte for byte. */
export function verifyJob({ store, repositories, clock }: ReadOptions): JobDefinition<VerifyInput> {
  return {
    kind: 'verify',
    input: VerifyInput,
    steps: [{ name: 'read', title: 'Read every chunk and compare its hash' }],
    timeoutMs: 7 * DAY_MS,
    run: async run => {
      const { repository } = await repositories.open(run.input.repositoryId)
      const onProgress = ({ totalBytes, checkedBytes }: { totalBytes: number; checkedBytes: number }) =>
        reportBytes(run, { totalBytes, readBytes: checkedBytes })
      const { backupId, restorePointId } = run.input
      const read = async () => {
        const found = await repository.verify(restorePointId, { signal: run.signal, onProgress })
        const report = bounded(found)
        run.keep(report)
        if (found.damaged.length > 0) throw damageOf('restore-point-damaged', found.damaged)
        return report
      }
      const startedAt = clock.now()
      const report = await run.step('read', () => readRestorePoint(backupId, { store, clock }, read))
      await store.markVerified(backupId, { startedAt, finishedAt: clock.now() })
      return report
    },
  }
}

/** The job that writes a disk of a restore point to a raw file. */
export function restoreDiskJob({
  store,
  repositories,
  clock,
  engine,
}: ReadOptions & {
  engine: Pick<Engine, 'removeRestoreLeftovers'>
}): JobDefinition<RestoreDiskInput> {
  return {
    kind: 'restore-disk',
    input: RestoreDiskInput,
    steps: [{ name: 'write', title: 'Write the disk' }],
    timeoutMs: 7 * DAY_MS,
    run: async run => {
      const { backupId, repositoryId, restorePointId, file, targetPath, overwrite } = run.input
      const { repository } = await repositories.open(repositoryId)
      const onProgress = (counters: { logicalBytes: number; doneBytes: number; writtenBytes: number }) =>
        reportBytes(run, {
          totalBytes: counters.logicalBytes,
          readBytes: counters.doneBytes,
          newBytes: counters.writtenBytes,
          diskKey: run.input.diskKey,
        })
      const disk = { restorePointId, file, targetPath, overwrite }
      const write = () =>
        readRestorePoint(backupId, { store, clock }, () =>
          repository.restoreDisk(disk, { signal: run.signal, onProgress }),
        )
      return { ...(await run.step('write', write)) }
    },
    recover: async ({ input, isCancelling }) => {
      await engine.removeRestoreLeftovers(input.targetPath)
      if (isCancelling) return { next: 'cancel' }
      const detail = 'The Hub was restarted while the disk was restored. Start the restore again'
      return { next: 'fail', failure: new AppError('job-interrupted', { detail }).toFailure() }
    },
  }
}
