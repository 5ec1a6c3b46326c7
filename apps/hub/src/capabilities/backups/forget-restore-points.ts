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
import type { Backup, BackupsStore } from './backups.store.ts'
import { decideRetention } from './retention.ts'

/** What a forget job is started with. */
export const ForgetInput = ForgetRestorePointsRequest.extend({ repositoryId: RepositoryId })
export type ForgetInput = z.output<typeof ForgetInput>

type Point = ForgetReport['restorePoints'][number]
type Retained = Pick<Repository, 'restorePoints' | 'forget'>

/**
 * Decides for each restore point of a repository whether it stays, VM by VM. The repository says which there are, the
 * records say of what: a restore point that no backup of this Hub made is counted and left alone.
 */
export async function planForget(
  request: ForgetInput,
  repository: Retained,
  { store, clock }: { store: Pick<BackupsStore, 'listSucceeded'>; clock: Clock },
): Promise<{ points: Point[]; unknownCount: number }> {
  const present = new Set((await repository.restorePoints().catch(throwFromEngine)).map(({ id }) => id))
  const known = (await store.listSucceeded(request.repositoryId)).filter(
    ({ restorePointId }) => restorePointId !== null && present.has(restorePointId),
  )
  const byVm = Map.groupBy(
    known.filter(backup => isMeant(backup, request)),
    ({ vmId }) => vmId,
  )
  const points: Point[] = []
  for (const backups of byVm.values()) {
    const verdicts = decideRetention(
      backups.map(({ id, capturedAt, startedAt }) => ({ id, at: capturedAt ?? startedAt })),
      request.rules,
      { timeZone: request.timeZone, now: clock.now() },
    )
    for (const { id, reasons } of verdicts) {
      const backup = backups.find(one => one.id === id)
      if (backup) points.push(pointOf(backup, reasons))
    }
  }
  return { points, unknownCount: present.size - new Set(known.map(one => one.restorePointId)).size }
}

/** Removes the ones that go. */
export async function removePoints(
  points: readonly Point[],
  repository: Retained,
  { store, signal }: { store: Pick<BackupsStore, 'markForgotten'>; signal: AbortSignal },
): Promise<void> {
  for (const point of points.filter(({ isKept }) => !isKept)) {
    signal.throwIfAborted()
    await removePoint(point, repository, store)
  }
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
): Promise<void> {
  try {
    await repository.forget(point.restorePointId)
  } catch (cause) {
    const error = fromEngine(cause)
    const code = error instanceof AppError ? error.code : undefined
    // Somebody else was faster, or an earlier process of this job.
    if (code !== 'restore-point-missing') throw error
  }
  await store.markForgotten(point.backupId)
}

function isMeant({ vmId, tags }: Backup, request: ForgetInput): boolean {
  const isOfVm = request.vmIds === undefined || request.vmIds.includes(vmId)
  return isOfVm && Object.entries(request.tags).every(([name, value]) => tags[name] === value)
}

function pointOf(
  { id, vmId, vmName, restorePointId, capturedAt, startedAt }: Backup,
  reasons: KeepReason[],
): Point {
  return {
    ...{
      backupId: id,
      vmId,
      vmName,
      restorePointId: restorePointId ?? '',
      isKept: reasons.length > 0,
      reasons,
    },
    capturedAt: (capturedAt ?? startedAt).toISOString(),
  }
}
