import { ForgetReport, JobId, NodeId, RepositoryId, type RetentionRules, VmId } from '@sendense/contracts'
import { EngineError, type Repository } from '@sendense/engine'
import { AppError, newId, principalOf } from '@sendense/platform'
import { FakeClock, memoryLog } from '@sendense/platform/testing'
import { beforeEach, describe, expect, test } from 'vitest'
import type { JobRun } from '../jobs/index.ts'
import { BackupsService } from './backups.service.ts'
import { BackupsMemoryStore } from './backups.store.memory.ts'
import { aBackup, aCompletion } from './backups.store.suite.ts'
import type { Backup } from './backups.store.ts'
import type { ForgetInput } from './forget-restore-points.ts'
import { forgetJob } from './restore-points.jobs.ts'
import { RestorePointsService } from './restore-points.service.ts'

const admin = principalOf({ id: '1', name: 'admin', role: 'administrator' })
const DAY_MS = 24 * 60 * 60 * 1000
const main = RepositoryId.parse(newId())
const nodeId = NodeId.parse(newId())
const [db1, web1] = [VmId.parse(newId()), VmId.parse(newId())]

let store: BackupsMemoryStore
let clock: FakeClock
/** What lies in each repository. */
let points: Map<RepositoryId, Set<string>>
let started: { kind: string; lockKey?: string; input: unknown }[]
let measured: RepositoryId[]

beforeEach(() => {
  store = new BackupsMemoryStore()
  clock = new FakeClock()
  points = new Map([[main, new Set()]])
  started = []
  measured = []
})

const repositories = {
  open: async (id: RepositoryId) => ({ repository: repositoryOf(id), chunkBytes: 1024, name: 'main' }),
  measureSoon: (id: RepositoryId) => void measured.push(id),
}

function repositoryOf(id: RepositoryId): Repository {
  const own = points.get(id) ?? new Set<string>()
  const fake = {
    restorePoints: async () => [...own].map(point => ({ id: point })),
    forget: async (point: string) => {
      if (!own.delete(point)) throw new EngineError('restore-point-missing', 'It is gone')
    },
  }
  return fake as unknown as Repository
}

function aService(): RestorePointsService {
  const jobs = {
    start: async (job: (typeof started)[number]) => {
      started.push(job)
      return JobId.parse(newId())
    },
    stateOf: async () => 'running' as const,
  }
  const backups = new BackupsService({ store, jobs, clock } as never)
  return new RestorePointsService({ store, jobs, backups, repositories, log: memoryLog() })
}

/** A backup whose restore point lies in the main repository. */
async function aPoint(daysAgo: number, over: Partial<Backup> = {}): Promise<Backup> {
  const backup = { ...aBackup({ vmId: db1, repositoryId: main, nodeId }), ...over }
  const capturedAt = new Date(clock.now().getTime() - daysAgo * DAY_MS)
  await store.add(backup)
  await store.complete(backup.id, { ...aCompletion(), restorePointId: `point ${backup.id}`, capturedAt })
  points.get(main)?.add(`point ${backup.id}`)
  return { ...backup, restorePointId: `point ${backup.id}` }
}

/** Does the work of a job as the Hub would. */
function aRun<Input>(input: Input, signal = new AbortController().signal): JobRun<Input> {
  return {
    ...{ jobId: JobId.parse(newId()), input, signal, isResumed: false, log: memoryLog() },
    step: (_name, action) => action(),
    ...{ setStep: async () => {}, report: () => {}, note: async () => {} },
  }
}

describe('removing one restore point', () => {
  test('takes it from the repository and says so in the backup', async () => {
    const { id } = await aPoint(1)
    await aService().remove(admin, id)
    expect(points.get(main)?.size).toBe(0)
    expect(await store.get(id)).toMatchObject({ status: 'forgotten' })
    expect(measured).toEqual([main])
    await expect(aService().remove(admin, id)).rejects.toMatchObject({ code: 'restore-point-missing' })
  })

  test('needs one: a backup that runs has none', async () => {
    const running = aBackup({ vmId: db1, repositoryId: main, nodeId })
    await store.add(running)
    await expect(aService().remove(admin, running.id)).rejects.toMatchObject({ code: 'conflict' })
  })
})

describe('forgetting by rules', () => {
  function forget(rules: RetentionRules, over: Partial<ForgetInput> = {}, signal?: AbortSignal) {
    const input = { rules, tags: {}, timeZone: 'UTC', dryRun: false, repositoryId: main, ...over }
    const job = forgetJob({ store, repositories, clock })
    return job.run(aRun(input, signal)).then(result => ForgetReport.parse(result))
  }

  test('judges each VM by itself, and says of each restore point why it stays or goes', async () => {
    const [old, young] = [await aPoint(2), await aPoint(1)]
    const alone = await aPoint(9, { vmId: web1, vmName: 'web1' })
    const report = await forget({ keepLast: 1 })
    expect(report).toMatchObject({ isDryRun: false, keptCount: 2, removedCount: 1, unknownCount: 0 })
    const told = report.restorePoints.map(({ backupId, isKept, reasons }) => [backupId, isKept, reasons])
    expect(told).toEqual(
      expect.arrayContaining([
        [young.id, true, ['last']],
        [old.id, false, []],
        [alone.id, true, ['last']],
      ]),
    )
    expect(await store.get(old.id)).toMatchObject({ status: 'forgotten' })
    expect([...(points.get(main) ?? [])]).toHaveLength(2)
  })

  test('only tells when nothing shall be removed', async () => {
    await aPoint(2)
    await aPoint(1)
    expect(await forget({ keepLast: 1 }, { dryRun: true })).toMatchObject({ isDryRun: true, removedCount: 1 })
    expect(points.get(main)?.size).toBe(2)
    expect(measured).toEqual([])
  })

  test('leaves alone what other VMs, other labels or other programs have', async () => {
    await aPoint(4)
    await aPoint(3, { vmId: web1 })
    await aPoint(2, { tags: { plan: 'gold' } })
    await aPoint(1, { tags: { plan: 'gold' } })
    points.get(main)?.add('of restic')
    const report = await forget({ keepLast: 1 }, { vmIds: [db1], tags: { plan: 'gold' } })
    expect(report).toMatchObject({ keptCount: 1, removedCount: 1, unknownCount: 1 })
    expect(points.get(main)?.size).toBe(4)
  })

  test('ends between two restore points when it is cancelled, and can be run again', async () => {
    await aPoint(3)
    await aPoint(2)
    await aPoint(1)
    const cancelled = AbortSignal.abort(new AppError('job-cancelled'))
    await expect(forget({ keepLast: 1 }, {}, cancelled)).rejects.toMatchObject({ code: 'job-cancelled' })
    expect(points.get(main)?.size).toBe(3)
    expect(await forget({ keepLast: 1 })).toMatchObject({ removedCount: 2 })
    expect(await forget({ keepLast: 1 })).toMatchObject({ keptCount: 1, removedCount: 0 })
  })

  test('is one job at a time a repository', async () => {
    await aService().forget(main, { rules: { keepLast: 1 }, tags: {}, timeZone: 'UTC', dryRun: false })
    expect(started).toMatchObject([{ kind: 'forget', lockKey: `forget:${main}` }])
  })
})
