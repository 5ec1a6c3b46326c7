import {
  type ForgetReport,
  ForgetRestorePointsRequest,
  type KeepReason,
  RepositoryId,
} from '@sendense/contracts'
import type { Repository } from '@sendense/engine'
import { AppError, type Clock } from '@sendense/platform'
import type { z } from 'zod'
import { fromEngine, throwFromEngine } from '../../platform/engine/engine-problem.ts'
import type { JobRun } from '../jobs/index.ts'
import type { Backup, BackupsStore } from './backups.store.ts'
import { decideRetention } from './retention.ts'

/** What a forget job is started with. */
export const ForgetInput = ForgetRestorePointsRequest.extend({ repositoryId: RepositoryId })
export type ForgetInput = z.output<typeof ForgetInput>

type Point = ForgetReport['restorePoints'][number]
type Retained = Pick<Repository, 'restorePointIds' | 'protection' | 'forget'>

/**
 * Decides for each restore point of a repository whether it stays, VM by VM. The repository says which there are, the
 * records say of what: a restore point that no backup of this Hub made is counted and left alone, and a backup whose
 * restore point is gone is told as absent.
 */
export async function planForget(
  request: ForgetInput,
  repository: Retained,
  { store, clock }: { store: Pick<BackupsStore, 'listSucceeded'>; clock: Clock },
): Promise<{ points: Point[]; absent: Backup[]; unknownCount: number }> {
  // The records first: what is made meanwhile is then unknown, and not absent.
  const recorded = await store.listSucceeded(request.repositoryId)
  const present = new Set(await repository.restorePointIds().catch(throwFromEngine))
  const isPresent = ({ restorePointId }: Backup) => restorePointId !== null && present.has(restorePointId)
  const known = recorded.filter(isPresent)
  const byVm = Map.groupBy(
    known.filter(backup => isMeant(backup, request)),
    ({ vmId }) => vmId,
  )
  const points: Point[] = []
  for (const backups of byVm.values()) {
    const verdicts = decideRetention(
      backups.map(({ id, capturedAt, startedAt, damagedAt }) => ({
        ...{ id, at: capturedAt ?? startedAt },
        isDamaged: damagedAt !== null,
      })),
      request.rules,
      { timeZone: request.timeZone, now: clock.now() },
    )
    for (const { id, reasons } of verdicts) {
      const backup = backups.find(one => one.id === id)
      if (backup) points.push(await pointOf(backup, reasons, repository, clock))
    }
  }
  const absent = recorded.filter(backup => !isPresent(backup))
  return { points, absent, unknownCount: present.size - known.length }
}

/** Notes that restore points are gone: by this job, whose process died before it could say so, or by somebody else. */
export async function noteAbsent(
  absent: readonly Backup[],
  { input, isResumed }: Pick<JobRun<ForgetInput>, 'input' | 'isResumed'>,
  store: Pick<BackupsStore, 'markForgotten' | 'markMissing'>,
): Promise<void> {
  for (const backup of absent) {
    const isOurs = isResumed && isMeant(backup, input)
    await (isOurs ? store.markForgotten(backup.id) : store.markMissing(backup.id))
  }
}

/** Removes the ones that go. One that turns out to be protected after all stays, and is reported so. */
export async function removePoints(
  points: readonly Point[],
  repository: Retained,
  { store, signal }: { store: Pick<BackupsStore, 'markForgotten'>; signal: AbortSignal },
): Promise<Point[]> {
  const done: Point[] = []
  for (const point of points) {
    signal.throwIfAborted()
    done.push(point.isKept ? point : await removePoint(point, repository, store))
  }
  return done
}

/** What a `forget` job has as its result. */
export function forgetReport(points: Point[], unknownCount: number, isDryRun: boolean): ForgetReport {
  const keptCount = points.filter(({ isKept }) => isKept).length
  return { isDryRun, keptCount, removedCount: points.length - keptCount, unknownCount, restorePoints: points }
}

async function removePoint(
  point: Point,
  repository: Retained,
  store: Pick<BackupsStore, 'markForgotten'>,
): Promise<Point> {
  try {
    await repository.forget(point.restorePointId)
  } catch (cause) {
    const error = fromEngine(cause)
    const code = error instanceof AppError ? error.code : undefined
    if (code === 'storage-protected') return { ...point, isKept: true, reasons: ['protected'] }
    // Somebody else was faster, or an earlier process of this job.
    if (code !== 'restore-point-missing') throw error
  }
  await store.markForgotten(point.backupId)
  return point
}

function isMeant({ vmId, tags }: Backup, request: ForgetInput): boolean {
  const isOfVm = request.vmIds === undefined || request.vmIds.includes(vmId)
  return isOfVm && Object.entries(request.tags).every(([name, value]) => tags[name] === value)
}

/** Asks for the protection only of those that no rule keeps: the others stay anyway. */
async function pointOf(
  { id, vmId, vmName, restorePointId, capturedAt, startedAt }: Backup,
  reasons: KeepReason[],
  repository: Retained,
  clock: Clock,
): Promise<Point> {
  const pointId = restorePointId ?? ''
  const protection = reasons.length > 0 ? null : await repository.protection(pointId).catch(throwFromEngine)
  const until = protection?.until ?? null
  const isProtected = until !== null && until > clock.now()
  const all: KeepReason[] = isProtected ? ['protected'] : reasons
  return {
    ...{ backupId: id, vmId, vmName, restorePointId: pointId, isKept: all.length > 0, reasons: all },
    capturedAt: (capturedAt ?? startedAt).toISOString(),
    protectedUntil: isProtected ? until.toISOString() : null,
  }
}
