import { ForgetReport, JobId, NodeId, RepositoryId, type RetentionRules, VmId } from '@sendense/contracts'
import { type CopiedRestorePoint, EngineError, type Repository } from '@sendense/engine'
import { AppError, newId, principalOf } from '@sendense/platform'
import { FakeClock, memoryLog } from '@sendense/platform/testing'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import type { JobRun } from '../jobs/index.ts'
import { BackupsService } from './backups.service.ts'
import { BackupsMemoryStore } from './backups.store.memory.ts'
import { aBackup, aCompletion } from './backups.store.suite.ts'
import type { Backup } from './backups.store.ts'
import type { CopyInput } from './copy-backup.ts'
import type { ForgetInput } from './forget-restore-points.ts'
import { copyJob, forgetJob } from './restore-points.jobs.ts'
import { RestorePointsService } from './restore-points.service.ts'

const admin = principalOf({ id: '1', name: 'admin', role: 'administrator' })
const DAY_MS = 24 * 60 * 60 * 1000
const [main, other] = [RepositoryId.parse(newId()), RepositoryId.parse(newId())]
const nodeId = NodeId.parse(newId())
const [db1, web1] = [VmId.parse(newId()), VmId.parse(newId())]

let store: BackupsMemoryStore
let clock: FakeClock
/** What lies in each repository, and until when it is protected. */
let points: Map<RepositoryId, Map<string, Date | null>>
let started: { kind: string; lockKey?: string; input: unknown }[]
let measured: RepositoryId[]
let copyTo: Repository['copyTo']

beforeEach(() => {
  store = new BackupsMemoryStore()
  clock = new FakeClock()
  points = new Map([
    [main, new Map()],
    [other, new Map()],
  ])
  started = []
  measured = []
  copyTo = async (_target, { restorePointIds, onProgress }) => {
    onProgress?.({ totalBytes: 10, doneBytes: 10, doneRestorePoints: 1, totalRestorePoints: 1 })
    for (const id of restorePointIds) points.get(other)?.set(`copy of ${id}`, null)
    const copied = restorePointIds.map(sourceId => aCopied(sourceId, `copy of ${sourceId}`))
    return { points: copied, ...COUNTED }
  }
})

/** What the engine says of a copy of two chunks. */
const COUNTED = { chunks: 2, copiedBytes: 6, storedBytes: 3, skippedChunks: 0, verifiedChunks: 2 }
const NOTHING_COPIED = { chunks: 0, copiedBytes: 0, storedBytes: 0, skippedChunks: 0, verifiedChunks: 0 }

function aCopied(sourceId: string, targetId: string, wasThere = false): CopiedRestorePoint {
  return { sourceId, targetId, wasThere }
}

const open = async (id: RepositoryId) => ({ repository: repositoryOf(id), chunkBytes: 1024, name: 'main' })
const repositories = {
  ...{ open, openToWrite: open },
  ifOpen: async (id: RepositoryId) => repositoryOf(id),
  protectedUntil: async (id: RepositoryId, point: string) => points.get(id)?.get(point) ?? null,
  measureSoon: (id: RepositoryId) => void measured.push(id),
}

function repositoryOf(id: RepositoryId): Repository {
  const own = points.get(id) ?? new Map<string, Date | null>()
  const fake = {
    restorePointIds: async () => [...own.keys()],
    protection: async (point: string) => {
      const until = own.get(point)
      return until ? { until, mode: 'compliance' } : null
    },
    forget: async (point: string) => {
      if (!own.delete(point)) throw new EngineError('restore-point-missing', 'It is gone')
    },
    copyTo: (...args: Parameters<Repository['copyTo']>) => copyTo(...args),
  }
  return fake as unknown as Repository
}

function aService(): RestorePointsService {
  const jobs = {
    start: async (job: (typeof started)[number]) => {
      started.push(job)
      return JobId.parse(newId())
    },
    endOf: async () => undefined,
  }
  const backups = new BackupsService({
    store,
    jobs,
    ports: { repositories },
    clock,
    log: memoryLog(),
  } as never)
  return new RestorePointsService({ store, jobs, backups, repositories, clock, log: memoryLog() })
}

/** A backup whose restore point lies in the main repository. */
async function aPoint(
  daysAgo: number,
  over: Partial<Backup> = {},
  until: Date | null = null,
): Promise<Backup> {
  const backup = { ...aBackup({ vmId: db1, repositoryId: main, nodeId }), ...over }
  const capturedAt = new Date(clock.now().getTime() - daysAgo * DAY_MS)
  await store.add(backup)
  await store.complete(backup.id, { ...aCompletion(), restorePointId: `point ${backup.id}`, capturedAt })
  points.get(main)?.set(`point ${backup.id}`, until)
  return { ...backup, restorePointId: `point ${backup.id}` }
}

function later(days: number): Date {
  return new Date(clock.now().getTime() + days * DAY_MS)
}

/** Does the work of a job as the Hub would. */
function aRun<Input>(input: Input, signal = new AbortController().signal): JobRun<Input> {
  return {
    ...{ jobId: JobId.parse(newId()), input, signal, isResumed: false, log: memoryLog() },
    step: (_name, action) => action(),
    ...{ setStep: async () => {}, report: () => {}, keep: () => {}, note: async () => {} },
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

  test('is refused with the date while the storage protects it, and allowed after it', async () => {
    const until = later(3)
    const { id } = await aPoint(1, {}, until)
    await expect(aService().remove(admin, id)).rejects.toMatchObject({
      code: 'storage-protected',
      message: expect.stringContaining(until.toISOString()),
    })
    expect(await aService().details(id)).toMatchObject({ protectedUntil: until.toISOString() })
    expect(await store.get(id)).toMatchObject({ status: 'succeeded' })
    await clock.advance(4 * DAY_MS)
    await aService().remove(admin, id)
  })

  test('is done when it is gone from the repository already', async () => {
    const { id } = await aPoint(1)
    points.get(main)?.clear()
    await aService().remove(admin, id)
    expect(await store.get(id)).toMatchObject({ status: 'forgotten' })
  })

  test('a backup is shown while its storage is down, and says why its protection is not known', async () => {
    const { id } = await aPoint(1, {}, later(3))
    expect(await aService().details(id)).toMatchObject({ protectionUnknown: null })
    const asked = vi.spyOn(repositories, 'protectedUntil')
    asked.mockRejectedValueOnce(new AppError('storage-unreachable', { detail: 'Nobody answers' }))
    expect(await aService().details(id)).toMatchObject({
      id,
      protectedUntil: null,
      protectionUnknown: { code: 'storage-unreachable', detail: 'Nobody answers' },
    })
    asked.mockRejectedValueOnce(new TypeError('A bug'))
    await expect(aService().details(id)).rejects.toThrow('A bug')
  })

  test('needs one: a backup that runs has none', async () => {
    const running = aBackup({ vmId: db1, repositoryId: main, nodeId })
    await store.add(running)
    await expect(aService().remove(admin, running.id)).rejects.toMatchObject({ code: 'conflict' })
  })
})

describe('forgetting by rules', () => {
  async function forget(
    rules: RetentionRules,
    over: Partial<ForgetInput> = {},
    run: Partial<JobRun<ForgetInput>> = {},
  ) {
    const input = { rules, tags: {}, timeZone: 'UTC', dryRun: false, repositoryId: main, ...over }
    const job = forgetJob({ store, repositories, clock })
    return ForgetReport.parse(await job.run({ ...aRun(input), ...run }))
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
    expect([...(points.get(main)?.keys() ?? [])]).toHaveLength(2)
  })

  test('no damaged one is kept instead of a whole one', async () => {
    const [older, whole, damaged] = [await aPoint(3), await aPoint(2), await aPoint(1)]
    await store.markDamaged(damaged.id, clock.now())
    const report = await forget({ keepLast: 1 })
    const told = report.restorePoints.map(({ backupId, reasons }) => [backupId, reasons])
    expect(told).toEqual([
      [damaged.id, ['damaged']],
      [whole.id, ['last']],
      [older.id, []],
    ])
    expect(await store.get(whole.id)).toMatchObject({ status: 'succeeded' })
  })

  test('only tells when nothing shall be removed', async () => {
    await aPoint(2)
    await aPoint(1)
    expect(await forget({ keepLast: 1 }, { dryRun: true })).toMatchObject({ isDryRun: true, removedCount: 1 })
    expect(points.get(main)?.size).toBe(2)
    expect(measured).toEqual([])
  })

  test('never removes what is protected, and tells until when', async () => {
    const until = later(5)
    const { id } = await aPoint(3, {}, until)
    const past = await aPoint(2, {}, later(-1))
    await aPoint(1)
    const report = await forget({ keepLast: 1 })
    const point = report.restorePoints.find(({ backupId }) => backupId === id)
    expect(point).toMatchObject({ isKept: true, reasons: ['protected'], protectedUntil: until.toISOString() })
    expect(await store.get(past.id)).toMatchObject({ status: 'forgotten' })
    expect(await store.get(id)).toMatchObject({ status: 'succeeded' })
  })

  test('leaves alone what other VMs, other labels or other programs have', async () => {
    await aPoint(4)
    await aPoint(3, { vmId: web1 })
    await aPoint(2, { tags: { plan: 'gold' } })
    await aPoint(1, { tags: { plan: 'gold' } })
    points.get(main)?.set('of restic', null)
    const report = await forget({ keepLast: 1 }, { vmIds: [db1], tags: { plan: 'gold' } })
    expect(report).toMatchObject({ keptCount: 1, removedCount: 1, unknownCount: 1 })
    expect(points.get(main)?.size).toBe(4)
  })

  test('ends between two restore points when it is cancelled, and can be run again', async () => {
    await aPoint(3)
    await aPoint(2)
    await aPoint(1)
    const cancelled = AbortSignal.abort(new AppError('job-cancelled'))
    await expect(forget({ keepLast: 1 }, {}, { signal: cancelled })).rejects.toMatchObject({
      code: 'job-cancelled',
    })
    expect(points.get(main)?.size).toBe(3)
    expect(await forget({ keepLast: 1 })).toMatchObject({ removedCount: 2 })
    expect(await forget({ keepLast: 1 })).toMatchObject({ keptCount: 1, removedCount: 0 })
  })

  test('notices what is gone from the repository, and judges without it', async () => {
    const [gone, old, young] = [await aPoint(3), await aPoint(2), await aPoint(1)]
    points.get(main)?.delete(`point ${gone.id}`)
    await forget({ keepLast: 2 }, { dryRun: true })
    expect(await store.get(gone.id)).toMatchObject({ status: 'succeeded' })
    expect(await forget({ keepLast: 2 })).toMatchObject({ keptCount: 2, removedCount: 0 })
    expect(await store.get(gone.id)).toMatchObject({ status: 'missing' })
    for (const { id } of [old, young]) expect(await store.get(id)).toMatchObject({ status: 'succeeded' })
  })

  test('knows what it had removed before the Hub died', async () => {
    const removed = await aPoint(2)
    await aPoint(1)
    points.get(main)?.delete(`point ${removed.id}`)
    await forget({ keepLast: 1 }, {}, { isResumed: true })
    expect(await store.get(removed.id)).toMatchObject({ status: 'forgotten' })
  })

  test('is one job at a time a repository', async () => {
    await aService().forget(main, { rules: { keepLast: 1 }, tags: {}, timeZone: 'UTC', dryRun: false })
    expect(started).toMatchObject([{ kind: 'forget', lockKey: `forget:${main}` }])
  })
})

describe('a copy', () => {
  async function aCopy(source: Backup): Promise<CopyInput> {
    await aService().copy(source.id, other)
    return started.at(-1)?.input as CopyInput
  }

  function run(input: CopyInput, signal?: AbortSignal) {
    return copyJob({ store, repositories, clock }).run(aRun(input, signal))
  }

  test('becomes a backup of its own in the other repository, verified, with the same disks', async () => {
    const source = await aPoint(1)
    const input = await aCopy(source)
    const [running] = (await aService().copies(source.id)).copies
    expect(running).toMatchObject({ id: input.backupId, status: 'running', repositoryId: other })
    const result = await run(input)
    expect(result).toMatchObject({ restorePointId: `copy of ${source.restorePointId}`, chunks: 2 })
    const copy = await store.get(input.backupId)
    expect(copy).toMatchObject({
      ...{ status: 'succeeded', copyOf: source.id, vmId: db1, verifiedAt: clock.now() },
      bytes: { changedBytes: 10, readBytes: 10, newBytes: 6, storedBytes: 3 },
      disks: [{ key: 2000, changeId: '52 aa bb cc/7' }, { key: 2016 }],
    })
    expect(await store.chain(db1, other)).toHaveLength(1)
  })

  test('is refused where the restore point is already', async () => {
    const source = await aPoint(1)
    await expect(aService().copy(source.id, main)).rejects.toMatchObject({ code: 'conflict' })
    await run(await aCopy(source))
    await expect(aService().copy(source.id, other)).rejects.toMatchObject({ code: 'conflict' })
  })

  test('is refused on its way back, and over a third repository', async () => {
    const source = await aPoint(1)
    const input = await aCopy(source)
    await run(input)
    const conflict = { code: 'conflict', message: expect.stringContaining(source.id) }
    await expect(aService().copy(input.backupId, main)).rejects.toMatchObject(conflict)
    const third = RepositoryId.parse(newId())
    await aService().copy(source.id, third)
    const overThird = started.at(-1)?.input as CopyInput
    await run(overThird)
    await expect(aService().copy(overThird.backupId, other)).rejects.toMatchObject({ code: 'conflict' })
  })

  test('never makes a second record of a restore point that a backup has', async () => {
    const source = await aPoint(1)
    const [first, second] = [await aCopy(source), await aCopy(source)]
    expect(started.at(-1)?.lockKey).toBe(started.at(-2)?.lockKey)
    await run(first)
    const wasThere = aCopied(source.restorePointId ?? '', `copy of ${source.restorePointId}`, true)
    copyTo = async () => ({ points: [wasThere], ...NOTHING_COPIED })
    await expect(run(second)).rejects.toMatchObject({ code: 'conflict' })
    expect(await store.get(second.backupId)).toMatchObject({ status: 'failed', restorePointId: null })
  })

  test('takes the restore point that an interrupted copy had made, and does not call it verified', async () => {
    const source = await aPoint(1)
    const input = await aCopy(source)
    copyTo = async () => ({
      points: [aCopied(source.restorePointId ?? '', 'was there', true)],
      ...NOTHING_COPIED,
    })
    await run(input)
    expect(await store.get(input.backupId)).toMatchObject({
      status: 'succeeded',
      restorePointId: 'was there',
      verifiedAt: null,
      damagedAt: null,
    })
  })

  test('is verified only when all of it was read back', async () => {
    const input = await aCopy(await aPoint(1))
    copyTo = async (_target, { restorePointIds: [id = ''] }) => ({
      ...{ points: [aCopied(id, 'shares a chunk')], ...COUNTED, chunks: 1, skippedChunks: 1 },
    })
    await run(input)
    expect(await store.get(input.backupId)).toMatchObject({ status: 'succeeded', verifiedAt: null })
  })

  test('of a restore point that is gone says so, and so does its backup from then on', async () => {
    const source = await aPoint(1)
    const input = await aCopy(source)
    copyTo = () => Promise.reject(new EngineError('restore-point-missing', 'It is gone'))
    await expect(run(input)).rejects.toMatchObject({ code: 'restore-point-missing' })
    expect(await store.get(source.id)).toMatchObject({ status: 'missing' })
  })

  test('that fails says why, and one that is cancelled says so', async () => {
    const source = await aPoint(1)
    const input = await aCopy(source)
    copyTo = () => Promise.reject(new EngineError('repository-quota-exceeded' as never, 'It is full'))
    await expect(run(input)).rejects.toMatchObject({ code: 'repository-quota-exceeded' })
    expect(await store.get(input.backupId)).toMatchObject({
      status: 'failed',
      failure: { code: 'repository-quota-exceeded' },
    })
    const next = await aCopy(source)
    await expect(run(next, AbortSignal.abort(new AppError('job-cancelled')))).rejects.toThrow()
    expect(await store.get(next.backupId)).toMatchObject({ status: 'cancelled' })
  })

  test('that a restart has interrupted goes on, and is not done twice when it was done', async () => {
    const input = await aCopy(await aPoint(1))
    const { recover } = copyJob({ store, repositories, clock })
    const interrupted = { jobId: JobId.parse(newId()), input, job: {} as never, isCancelling: false }
    expect(await recover?.(interrupted)).toEqual({ next: 'run' })
    const stopped = AbortSignal.abort(new AppError('job-interrupted'))
    copyTo = async () => Promise.reject(new EngineError('cancelled', 'Cancelled'))
    await expect(run(input, stopped)).rejects.toThrow()
    expect(await store.get(input.backupId)).toMatchObject({ status: 'running' })
    expect(await recover?.({ ...interrupted, isCancelling: true })).toEqual({ next: 'cancel' })
    expect(await store.get(input.backupId)).toMatchObject({ status: 'cancelled' })
  })
})
