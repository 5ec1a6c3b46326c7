import type { CopiedRestorePoint, CopyCounters, CopyReport } from '@sendense/engine'
import { AppError, type Clock } from '@sendense/platform'
import type { InterruptedJob, JobDefinition, JobRun, Recovery } from '../jobs/index.ts'
import type { BackupsPorts } from './backups.ports.ts'
import type { Backup, BackupsStore } from './backups.store.ts'
import { CopyInput, copyCompletion, newCopy, targetOf } from './copy-backup.ts'
import { ForgetInput, forgetReport, noteAbsent, planForget, removePoints } from './forget-restore-points.ts'
import { withRestorePoint } from './missing-restore-point.ts'

const DAY_MS = 24 * 60 * 60 * 1000

interface Options {
  store: BackupsStore
  repositories: BackupsPorts['repositories']
  clock: Clock
}

/** The job that brings a restore point into another repository, chunk by chunk, and verifies it there. */
export function copyJob(options: Options): JobDefinition<CopyInput> {
  const { store, clock } = options
  return {
    kind: 'copy',
    input: CopyInput,
    steps: [{ name: 'copy', title: 'Copy what the other repository lacks, and verify it there' }],
    timeoutMs: 14 * DAY_MS,
    run: async run => {
      try {
        return await run.step('copy', () => copy(run, options))
      } catch (error) {
        await endCopy(run, error, options)
        throw error
      }
    },
    recover: job => recoverCopy(job, { store, clock }),
  }
}

/** The job that removes the restore points that no rule keeps. */
export function forgetJob({ store, repositories, clock }: Options): JobDefinition<ForgetInput> {
  return {
    kind: 'forget',
    input: ForgetInput,
    steps: [
      { name: 'decide', title: 'Decide which restore points stay' },
      { name: 'remove', title: 'Remove the others' },
    ],
    timeoutMs: DAY_MS,
    run: async run => {
      const { repositoryId, dryRun } = run.input
      const { repository } = await repositories.open(repositoryId)
      const { points, absent, unknownCount } = await run.step('decide', () =>
        planForget(run.input, repository, { store, clock }),
      )
      if (dryRun) return forgetReport(points, unknownCount, true)
      await noteAbsent(absent, run, store)
      const options = { store, signal: run.signal }
      const done = await run.step('remove', () => removePoints(points, repository, options))
      repositories.measureSoon(repositoryId)
      return forgetReport(done, unknownCount, false)
    },
    recover: async ({ isCancelling }) => ({ next: isCancelling ? 'cancel' : 'run' }),
  }
}

async function copy(run: JobRun<CopyInput>, { store, repositories, clock }: Options) {
  const { backupId, sourceBackupId, repositoryId, targetRepositoryId, restorePointId } = run.input
  const source = await store.get(sourceBackupId)
  if (!source) throw new AppError('not-found', { detail: `There is no backup ${sourceBackupId}.` })
  await store.add(newCopy(source, run.input, { jobId: run.jobId, startedAt: clock.now() }))
  const { repository } = await repositories.open(repositoryId)
  const { repository: target } = await repositories.openToWrite(targetRepositoryId)
  let bytes = bytesOf(source, undefined)
  const onProgress = (counters: CopyCounters) => {
    bytes = bytesOf(source, counters)
    run.report([{ diskKey: 0, bytes, isDone: false }])
  }
  const options = { restorePointIds: [restorePointId], signal: run.signal, onProgress }
  const report = await withRestorePoint(sourceBackupId, store, () => repository.copyTo(target, options))
  const copied = targetOf(report, restorePointId)
  const finishedAt = clock.now()
  const made = { restorePointId: copied.targetId, bytes, finishedAt }
  await store.complete(backupId, copyCompletion(source, report, made))
  // Nobody else can have read it before it was made.
  if (isReadBack(report, copied)) await store.markVerified(backupId, { startedAt: finishedAt, finishedAt })
  repositories.measureSoon(targetRepositoryId)
  return { backupId, restorePointId: copied.targetId, ...withoutPoints(report) }
}

async function endCopy(run: JobRun<CopyInput>, error: unknown, { store, clock }: Options): Promise<void> {
  // The reason of the signal, a cancel or a stop, is why everything else failed.
  const failure = AppError.from(run.signal.aborted ? run.signal.reason : error).toFailure()
  // The next process goes on with a copy that a stop of the Hub has interrupted.
  if (failure.code === 'job-interrupted') return
  const status = failure.code === 'job-cancelled' ? 'cancelled' : 'failed'
  await store.end(run.input.backupId, status, failure, clock.now())
}

/** What was copied stays, so the copy goes through the rest; unless it was cancelled, or had only not been told as done. */
async function recoverCopy(
  { input, isCancelling }: InterruptedJob<CopyInput>,
  { store, clock }: Pick<Options, 'store' | 'clock'>,
): Promise<Recovery> {
  const backup = await store.get(input.backupId)
  if (backup?.status === 'succeeded') {
    return { next: 'succeed', result: { backupId: backup.id, restorePointId: backup.restorePointId } }
  }
  if (!isCancelling) return { next: 'run' }
  await store.end(input.backupId, 'cancelled', new AppError('job-cancelled').toFailure(), clock.now())
  return { next: 'cancel' }
}

function bytesOf(source: Backup, counters: CopyCounters | undefined) {
  return {
    logicalBytes: source.bytes.logicalBytes,
    changedBytes: counters?.totalBytes ?? 0,
    readBytes: counters?.doneBytes ?? 0,
    newBytes: counters?.doneBytes ?? 0,
    // Known when it is done.
    storedBytes: 0,
  }
}

/** Read back is what was copied: all of it, when the other repository had nothing of it. */
function isReadBack(
  { verifiedChunks, skippedChunks }: CopyReport,
  { wasThere }: CopiedRestorePoint,
): boolean {
  return !wasThere && verifiedChunks > 0 && skippedChunks === 0
}

function withoutPoints<T extends { points: unknown }>({ points: _points, ...rest }: T): Omit<T, 'points'> {
  return rest
}
