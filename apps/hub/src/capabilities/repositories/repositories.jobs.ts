import {
  PruneRepositoryRequest,
  RepairRepositoryRequest,
  RepositoryId,
  VerifyRepositoryRequest,
} from '@sendense/contracts'
import type { DamagedRestorePoint, PruneCounters } from '@sendense/engine'
import type { Clock } from '@sendense/platform'
import type { z } from 'zod'
import { throwFromEngine } from '../../platform/engine/engine-problem.ts'
import {
  bounded,
  damageOf,
  type InterruptedJob,
  type JobDefinition,
  type Recovery,
  reportBytes,
} from '../jobs/index.ts'
import type { RepositoriesService } from './repositories.service.ts'
import type { RepositoryStorageService } from './repository-storage.service.ts'

const HOUR_MS = 60 * 60 * 1000
const DAY_MS = 24 * HOUR_MS

/** What the jobs on whole repositories are started with. */
export const VerifyRepositoryInput = VerifyRepositoryRequest.extend({ repositoryId: RepositoryId })
export type VerifyRepositoryInput = z.output<typeof VerifyRepositoryInput>
export const PruneInput = PruneRepositoryRequest.extend({ repositoryId: RepositoryId })
export type PruneInput = z.output<typeof PruneInput>
export const RepairInput = RepairRepositoryRequest.extend({ repositoryId: RepositoryId })
export type RepairInput = z.output<typeof RepairInput>

/** What a check of a whole repository found. */
export interface RepositoryCheck {
  readonly repositoryId: RepositoryId
  /** Where every byte was read: when that began, and all restore points that were there. */
  readonly reading: { readonly startedAt: Date; readonly restorePointIds: readonly string[] } | null
  /** What cannot be read completely. */
  readonly damagedRestorePoints: readonly DamagedRestorePoint[]
}

interface Options {
  repositories: Pick<RepositoriesService, 'open'>
  storage: Pick<RepositoryStorageService, 'measureSoon'>
  clock: Pick<Clock, 'now'>
  onChecked(found: RepositoryCheck): Promise<void>
}

/** The job that says what of a repository was proven to be whole, and how fast it could be read. */
export function verifyRepositoryJob({
  repositories,
  clock,
  onChecked,
}: Options): JobDefinition<VerifyRepositoryInput> {
  return {
    kind: 'repository-verify',
    input: VerifyRepositoryInput,
    steps: [{ name: 'check', title: 'Compare packs, index and restore points, and read what was asked for' }],
    timeoutMs: 14 * DAY_MS,
    run: async run => {
      const { repositoryId, scope, samplePercent } = run.input
      const { repository } = await repositories.open(repositoryId)
      const what = { structure: {}, sample: { readData: true, samplePercent }, all: { readData: true } }[
        scope
      ]
      const onProgress = ({ totalBytes, checkedBytes }: { totalBytes: number; checkedBytes: number }) =>
        reportBytes(run, { totalBytes, readBytes: checkedBytes })
      const options = { ...what, signal: run.signal, onProgress }
      const reading =
        scope === 'all'
          ? {
              startedAt: clock.now(),
              restorePointIds: await repository.restorePointIds().catch(throwFromEngine),
            }
          : null
      const found = await run.step('check', () => repository.check(options).catch(throwFromEngine))
      const bytesPerSecond = found.readMs === 0 ? null : Math.round((found.readBytes / found.readMs) * 1000)
      const asked = { scope, samplePercent: scope === 'sample' ? samplePercent : null }
      const report = { ...asked, ...bounded(found), bytesPerSecond }
      run.keep(report)
      const { damagedRestorePoints } = found
      await onChecked({ repositoryId, reading, damagedRestorePoints })
      const damaged = [...damagedRestorePoints.map(damageText), ...found.problems]
      if (damaged.length > 0) throw damageOf('repository-damaged', damaged)
      return report
    },
    recover: async job => again(job),
  }
}

/** The job that removes what no restore point needs. Safe beside backups, and to be begun anew at any point. */
export function pruneJob({
  repositories,
  storage,
}: Pick<Options, 'repositories' | 'storage'>): JobDefinition<PruneInput> {
  return {
    kind: 'repository-prune',
    input: PruneInput,
    steps: [{ name: 'prune', title: 'Find, pack anew and remove what is not needed' }],
    timeoutMs: 14 * DAY_MS,
    run: async run => {
      const { repositoryId, graceHours, repackBytesMax, wasteRatioMax, exclusive, dryRun } = run.input
      const { repository } = await repositories.open(repositoryId)
      const options = {
        graceMs: graceHours * HOUR_MS,
        wasteRatioMax,
        ...(repackBytesMax !== undefined && { repackBytesMax }),
        exclusive,
        dryRun,
        signal: run.signal,
        onProgress: ({ totalRepackBytes, repackedBytes }: PruneCounters) =>
          reportBytes(run, { totalBytes: totalRepackBytes, readBytes: repackedBytes }),
      }
      const pruned = await run.step('prune', () => repository.prune(options).catch(throwFromEngine))
      if (!dryRun) storage.measureSoon(repositoryId)
      return { ...toJson(pruned), isDryRun: dryRun }
    },
    recover: async job => again(job),
  }
}

/** The job that brings back what can be brought back, and says truthfully what cannot. */
export function repairJob({
  repositories,
  storage,
  onChecked,
}: Omit<Options, 'clock'>): JobDefinition<RepairInput> {
  return {
    kind: 'repository-repair',
    input: RepairInput,
    steps: [{ name: 'repair', title: 'Rebuild the index, and salvage or fetch what is missing' }],
    timeoutMs: 14 * DAY_MS,
    run: async run => {
      const { repositoryId, sourceRepositoryId, dryRun } = run.input
      const { repository } = await repositories.open(repositoryId)
      const source = sourceRepositoryId && (await repositories.open(sourceRepositoryId)).repository
      const onProgress = ({ totalBytes, checkedBytes }: { totalBytes: number; checkedBytes: number }) =>
        reportBytes(run, { totalBytes, readBytes: checkedBytes })
      const options = { dryRun, ...(source && { source }), signal: run.signal, onProgress }
      const repaired = await run.step('repair', () => repository.repair(options).catch(throwFromEngine))
      if (!dryRun) storage.measureSoon(repositoryId)
      // What it has mended is not read back: that all can be read, a verification says.
      const { damagedRestorePoints } = repaired
      await onChecked({ repositoryId, reading: null, damagedRestorePoints })
      return { ...toJson(bounded(repaired)), isDryRun: dryRun }
    },
    recover: async job => again(job),
  }
}

/** What was done stays done and is found done: the job goes through the rest. */
function again({ isCancelling }: Pick<InterruptedJob<unknown>, 'isCancelling'>): Recovery {
  return { next: isCancelling ? 'cancel' : 'run' }
}

/** A report as the database and the API keep it: times as text. */
function toJson(report: object): Record<string, unknown> {
  return JSON.parse(JSON.stringify(report))
}

function damageText({ id, paths }: DamagedRestorePoint): string {
  const what = paths.length === 0 ? 'not even its list of files' : paths.join(', ')
  return `Restore point ${id.slice(0, 8)} cannot be read completely: ${what}`
}
