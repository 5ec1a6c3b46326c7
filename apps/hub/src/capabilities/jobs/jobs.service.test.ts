import { type DiskProgress, JobId, type Progress } from '@sendense/contracts'
import { AppError, newId } from '@sendense/platform'
import { FakeClock, memoryLog } from '@sendense/platform/testing'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { testDatabases } from '../../testing/test-database.ts'
import { JobsTypeormStore } from './index.ts'
import type { JobDefinition, JobRun, Recovery } from './job-definition.ts'
import { JobsService } from './jobs.service.ts'
import { JobsMemoryStore } from './jobs.store.memory.ts'
import type { Job, JobsStore } from './jobs.store.ts'

const Input = z.object({ name: z.string() })
type Input = z.output<typeof Input>
type Run = JobRun<Input>

const STEPS = [
  { name: 'open', title: 'Open' },
  { name: 'read', title: 'Read' },
  { name: 'close', title: 'Close' },
]
const NEVER = new AbortController().signal

let clock: FakeClock
let store: JobsStore
let log: ReturnType<typeof memoryLog>
let services: JobsService[]

beforeEach(() => {
  clock = new FakeClock()
  store = new JobsMemoryStore()
  log = memoryLog()
  services = []
})
afterEach(async () => {
  const closing = Promise.all(services.map(service => service.close()))
  await clock.advance(60_000)
  await closing
})

/** A process of the Hub whose jobs of kind `verify` do this. */
function aHub(
  run: JobDefinition<Input>['run'],
  more: Partial<JobDefinition<Input>> = {},
  runningMax = 16,
): JobsService {
  const jobs = new JobsService({ store, clock, log, runningMax })
  jobs.define({ kind: 'verify', input: Input, steps: STEPS, timeoutMs: 3_600_000, run, ...more })
  services.push(jobs)
  return jobs
}

function start(jobs: JobsService, lockKey?: string): Promise<JobId> {
  const job = { kind: 'verify', subject: 'db1', subjectId: newId(), input: { name: 'db1' } } as const
  return jobs.start({ ...job, ...(lockKey !== undefined && { lockKey }) })
}

async function endOf(jobs: JobsService, jobId: JobId): Promise<Progress> {
  let last: Progress | undefined
  for await (const progress of jobs.watch(jobId, NEVER)) last = progress
  if (!last) throw new Error('the job was not shown')
  return last
}

const stepStates = (progress: Progress) => progress.steps.map(step => step.state)

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}

function aDisk(readBytes: number, isDone = false): DiskProgress {
  const bytes = { logicalBytes: 1000, changedBytes: 400, readBytes, newBytes: 0, storedBytes: 0 }
  return { diskKey: 2000, bytes, isDone }
}

test('a job that does not exist has no history', async () => {
  const jobs = aHub(async () => ({}))
  await expect(jobs.events(JobId.parse(newId()))).rejects.toMatchObject({ code: 'not-found' })
})

describe('a job that succeeds', () => {
  test('goes through its steps and keeps its result', async () => {
    const jobs = aHub(async ({ step, input }) => {
      const handle = await step('open', async () => `handle of ${input.name}`)
      await step('read', async () => undefined)
      return { handle }
    })
    const progress = await endOf(jobs, await start(jobs))
    expect(progress).toMatchObject({
      state: 'succeeded',
      percent: 100,
      result: { handle: 'handle of db1' },
      failure: null,
      subject: 'db1',
    })
    expect(stepStates(progress)).toEqual(['succeeded', 'succeeded', 'skipped'])
  })

  test('is stored before it is shown as ended', async () => {
    const jobs = aHub(async () => undefined)
    const jobId = await start(jobs)
    for await (const progress of jobs.watch(jobId, NEVER)) {
      if (progress.state === 'succeeded') expect((await store.get(jobId))?.state).toBe('succeeded')
    }
    expect(await jobs.endOf(jobId)).toMatchObject({ state: 'succeeded', finishedAt: clock.now() })
    expect((await jobs.events(jobId)).map(event => event.message)).toEqual(['Started', 'Succeeded'])
  })

  test('may have steps that somebody else reports', async () => {
    const outside = Promise.withResolvers<void>()
    const jobs = aHub(async () => {
      await outside.promise
      return {}
    })
    const jobId = await start(jobs)
    await jobs.setStep(jobId, 'open', 'running')
    await jobs.setStep(jobId, 'open', 'succeeded')
    await jobs.setStep(jobId, 'read', 'running')
    expect(stepStates(await jobs.get(jobId))).toEqual(['succeeded', 'running', 'waiting'])
    outside.resolve()
    expect(stepStates(await endOf(jobs, jobId))).toEqual(['succeeded', 'succeeded', 'skipped'])
    await jobs.setStep(jobId, 'read', 'failed')
    expect(stepStates(await jobs.get(jobId))).toEqual(['succeeded', 'succeeded', 'skipped'])
  })
})

describe('a job that fails', () => {
  test('keeps what it has found', async () => {
    const jobs = aHub(async ({ keep }) => {
      keep({ problems: ['one'] })
      throw new AppError('repository-damaged')
    })
    expect(await endOf(jobs, await start(jobs))).toMatchObject({
      state: 'failed',
      failure: { code: 'repository-damaged' },
      result: { problems: ['one'] },
    })
  })

  test('undoes the steps that had succeeded, the last one first, with what they gave', async () => {
    const undone: string[] = []
    const jobs = aHub(async ({ step }) => {
      await step(
        'open',
        async () => 'a',
        async given => void undone.push(`open ${given}`),
      )
      await step(
        'read',
        async () => 'b',
        async given => void undone.push(`read ${given}`),
      )
      await step(
        'close',
        async () => {
          throw new AppError('repository-full', { detail: 'No space left' })
        },
        async () => void undone.push('close'),
      )
      return {}
    })
    const progress = await endOf(jobs, await start(jobs))
    expect(progress).toMatchObject({
      state: 'failed',
      failure: { code: 'repository-full', detail: 'No space left' },
      result: null,
    })
    expect(stepStates(progress)).toEqual(['succeeded', 'succeeded', 'failed'])
    expect(undone).toEqual(['read b', 'open a'])
  })

  test('does not stop undoing when one undo fails', async () => {
    const undone: string[] = []
    const jobs = aHub(async ({ step }) => {
      await step(
        'open',
        async () => 1,
        async () => void undone.push('open'),
      )
      await step(
        'read',
        async () => 1,
        () => Promise.reject(new Error('cannot undo')),
      )
      throw new AppError('disk-read-failed')
    })
    const jobId = await start(jobs)
    expect(await endOf(jobs, jobId)).toMatchObject({ failure: { code: 'disk-read-failed' } })
    expect(undone).toEqual(['open'])
    expect((await jobs.events(jobId)).map(event => event.message)).toContainEqual(
      expect.stringContaining('"read" could not be undone'),
    )
  })

  test('by a bug says so without the words of the bug, which are in the log', async () => {
    const jobs = aHub(() => Promise.reject(new Error('secret of the inside')))
    const jobId = await start(jobs)
    const progress = await endOf(jobs, jobId)
    expect(progress.failure?.code).toBe('internal')
    expect(JSON.stringify([progress, await jobs.events(jobId)])).not.toContain('secret')
    expect(log.lines.some(line => String(line.fields.error).includes('secret of the inside'))).toBe(true)
  })

  test('is ended by its deadline', async () => {
    const jobs = aHub(({ signal }) => untilAborted(signal), { timeoutMs: 5000 })
    const jobId = await start(jobs)
    // The heartbeat and the deadline.
    await expect.poll(() => clock.sleeperCount).toBe(2)
    await clock.advance(4000)
    expect(await jobs.endOf(jobId)).toBeUndefined()
    await clock.advance(2000)
    expect(await endOf(jobs, jobId)).toMatchObject({ state: 'failed', failure: { code: 'job-timed-out' } })
  })
})

describe('a job that is cancelled', () => {
  test('is shown as cancelling until it has cleaned up', async () => {
    const cleanUp = Promise.withResolvers<void>()
    const jobs = aHub(async ({ step, signal }) => {
      await step(
        'open',
        async () => 1,
        () => cleanUp.promise,
      )
      return step('read', () => untilAborted(signal))
    })
    const jobId = await start(jobs, 'key')
    await expect.poll(async () => stepStates(await jobs.get(jobId))[1]).toBe('running')
    expect(await jobs.cancel(jobId)).toMatchObject({ state: 'cancelling' })
    expect(await jobs.cancel(jobId)).toMatchObject({ state: 'cancelling' })
    await expect(start(jobs, 'key')).rejects.toMatchObject({ code: 'job-already-running' })
    cleanUp.resolve()
    const progress = await endOf(jobs, jobId)
    expect(progress).toMatchObject({ state: 'cancelled', failure: null })
    expect(stepStates(progress)).toEqual(['succeeded', 'failed', 'skipped'])
    await start(jobs, 'key')
  })

  test('is cancelled at once while it is queued, and never runs', async () => {
    let runCount = 0
    const gate = Promise.withResolvers<undefined>()
    const jobs = aHub(
      () => {
        runCount++
        return gate.promise
      },
      {},
      1,
    )
    const first = await start(jobs)
    const second = await start(jobs)
    expect(await jobs.get(second)).toMatchObject({ state: 'queued' })
    expect(await jobs.cancel(second)).toMatchObject({ state: 'cancelled' })
    gate.resolve(undefined)
    await endOf(jobs, first)
    expect(runCount).toBe(1)
  })

  test('has succeeded if its work was done before it noticed', async () => {
    const gate = Promise.withResolvers<undefined>()
    const jobs = aHub(() => gate.promise)
    const jobId = await start(jobs)
    await jobs.cancel(jobId)
    gate.resolve(undefined)
    expect(await endOf(jobs, jobId)).toMatchObject({ state: 'succeeded' })
  })

  test('cannot be cancelled when it has ended or never was', async () => {
    const jobs = aHub(async () => undefined)
    const jobId = await start(jobs)
    await endOf(jobs, jobId)
    await expect(jobs.cancel(jobId)).rejects.toMatchObject({ code: 'conflict' })
    await expect(jobs.cancel(JobId.parse(newId()))).rejects.toMatchObject({ code: 'not-found' })
  })
})

describe('progress', () => {
  test('is counted in bytes, with rate and rest, and is stored once a second', async () => {
    let run: Run | undefined
    const end = Promise.withResolvers<undefined>()
    const jobs = aHub(context => {
      run = context
      return end.promise
    })
    const jobId = await start(jobs)
    await expect.poll(() => run).toBeDefined()
    run?.report([aDisk(0)])
    await clock.advance(1000)
    run?.report([aDisk(100)])
    expect(await jobs.get(jobId)).toMatchObject({
      percent: 25,
      bytes: { logicalBytes: 1000, changedBytes: 400, readBytes: 100 },
      bytesPerSecond: 100,
      remainingSeconds: 3,
    })
    expect((await store.get(jobId))?.disks[0]?.bytes.readBytes).toBe(0)
    await clock.advance(1000)
    expect((await store.get(jobId))?.disks[0]?.bytes.readBytes).toBe(100)
    run?.report([aDisk(500, true)])
    expect(await jobs.get(jobId)).toMatchObject({ percent: 99.9 })
    end.resolve(undefined)
    expect(await endOf(jobs, jobId)).toMatchObject({
      percent: 100,
      bytesPerSecond: null,
      bytes: { readBytes: 500 },
    })
  })

  test('a watcher sees the state at once, the changes and the end', async () => {
    const gate = Promise.withResolvers<undefined>()
    const jobs = aHub(async ({ step }) => {
      await step('open', () => gate.promise)
      return undefined
    })
    const jobId = await start(jobs)
    const seen: string[] = []
    for await (const progress of jobs.watch(jobId, NEVER)) {
      seen.push(progress.state)
      gate.resolve(undefined)
    }
    expect(seen.length).toBeGreaterThanOrEqual(2)
    expect(seen.at(-1)).toBe('succeeded')
    expect(await endOf(jobs, jobId)).toMatchObject({ state: 'succeeded' })
  })

  test('a watcher who hangs up is let go', async () => {
    const jobs = aHub(({ signal }) => untilAborted(signal))
    const jobId = await start(jobs)
    const hangUp = new AbortController()
    const seen: Progress[] = []
    const watching = (async () => {
      for await (const progress of jobs.watch(jobId, hangUp.signal)) seen.push(progress)
    })()
    await expect.poll(() => seen.length).toBeGreaterThan(0)
    hangUp.abort()
    await watching
  })

  test('of an unknown job is not found', async () => {
    const jobs = aHub(async () => undefined)
    const jobId = JobId.parse(newId())
    await expect(jobs.get(jobId)).rejects.toMatchObject({ code: 'not-found' })
    await expect(jobs.watch(jobId, NEVER).next()).rejects.toMatchObject({ code: 'not-found' })
    expect(await jobs.endOf(jobId)).toBeUndefined()
  })
})

test('one job at a time holds a lock key, and it is free again after the end', async () => {
  const gate = Promise.withResolvers<undefined>()
  const jobs = aHub(() => gate.promise)
  const results = await Promise.allSettled([start(jobs, 'vm 1'), start(jobs, 'vm 1'), start(jobs, 'vm 2')])
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  gate.resolve(undefined)
  const [first] = results
  if (first?.status === 'fulfilled') await endOf(jobs, first.value)
  await start(jobs, 'vm 1')
})

test('jobs beyond the limit wait for their turn', async () => {
  const gates = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()]
  let runCount = 0
  const jobs = aHub(() => gates[runCount++]?.promise ?? Promise.resolve(undefined), {}, 2)
  const ids = [await start(jobs), await start(jobs), await start(jobs)] as const
  await expect.poll(() => runCount).toBe(2)
  expect((await jobs.get(ids[2])).state).toBe('queued')
  gates[0]?.resolve(undefined)
  await endOf(jobs, ids[2])
  expect((await jobs.get(ids[1])).state).toBe('running')
  gates[1]?.resolve(undefined)
  await endOf(jobs, ids[1])
})

test('an end that cannot be stored is stored as soon as that works again', async () => {
  const jobs = aHub(async () => ({ done: true }))
  const save = store.save.bind(store)
  let failuresLeft = 2
  store.save = job => {
    if (job.state !== 'succeeded' || failuresLeft-- <= 0) return save(job)
    return Promise.reject(new Error('disk full'))
  }
  const jobId = await start(jobs, 'key')
  const ending = endOf(jobs, jobId)
  await expect.poll(() => failuresLeft).toBe(1)
  await expect(start(jobs, 'key')).rejects.toMatchObject({ code: 'job-already-running' })
  await clock.advance(5000)
  await expect.poll(() => failuresLeft).toBe(0)
  await clock.advance(5000)
  expect(await ending).toMatchObject({ state: 'succeeded', result: { done: true } })
  expect((await store.get(jobId))?.lockKey).toBeNull()
})

test('input is checked before anything is stored', async () => {
  const jobs = aHub(async () => undefined)
  const job = { kind: 'verify', subject: 'a', subjectId: newId() } as const
  await expect(jobs.start({ ...job, input: { name: 7 } })).rejects.toThrow()
  expect(await store.listUnfinished()).toEqual([])
})

describe('after a crash', () => {
  /** A job as a process that was killed has left it. */
  async function left(change: Partial<Job> = {}): Promise<JobId> {
    const jobs = new JobsService({ store, clock, log })
    jobs.define({
      kind: 'verify',
      input: Input,
      steps: STEPS,
      timeoutMs: 1000,
      run: ({ signal }) => untilAborted(signal),
    })
    const jobId = await start(jobs, 'key')
    await expect.poll(async () => (await store.get(jobId))?.state).toBe('running')
    const job = await store.get(jobId)
    if (!job) throw new Error('the job is not stored')
    // The process is dead: it neither runs nor writes any more.
    const dead = store
    store = new JobsMemoryStore()
    await store.add({ ...job, ...change })
    services.push(jobs)
    dead.save = () => Promise.resolve()
    return jobId
  }

  test('a job that ran fails as interrupted and frees its key', async () => {
    const jobId = await left()
    const jobs = aHub(async () => undefined)
    await jobs.recover({ isAlone: true })
    const progress = await jobs.get(jobId)
    expect(progress).toMatchObject({ state: 'failed', failure: { code: 'job-interrupted' } })
    await start(jobs, 'key')
  })

  test('a job that was queued is queued again', async () => {
    const jobId = await left({ state: 'queued', startedAt: null })
    const jobs = aHub(async ({ isResumed }) => ({ isResumed }))
    await jobs.recover({ isAlone: true })
    expect(await endOf(jobs, jobId)).toMatchObject({ state: 'succeeded', result: { isResumed: false } })
  })

  test('a job that was being cancelled is cancelled', async () => {
    const jobId = await left({ state: 'cancelling' })
    const jobs = aHub(async () => undefined)
    await jobs.recover({ isAlone: true })
    expect(await jobs.get(jobId)).toMatchObject({ state: 'cancelled' })
  })

  test.each<[Recovery, object]>([
    [{ next: 'run' }, { state: 'succeeded', result: { isResumed: true } }],
    [
      { next: 'succeed', result: { found: 1 } },
      { state: 'succeeded', result: { found: 1 } },
    ],
    [{ next: 'cancel' }, { state: 'cancelled' }],
    [
      { next: 'fail', failure: { code: 'node-lost', detail: 'gone' } },
      { state: 'failed', failure: { code: 'node-lost', detail: 'gone' } },
    ],
  ])('its kind may decide %j', async (recovery, expected) => {
    const jobId = await left()
    const jobs = aHub(async ({ isResumed }) => ({ isResumed }), {
      recover: async ({ input, isCancelling }) => {
        expect([input, isCancelling]).toEqual([{ name: 'db1' }, false])
        return recovery
      },
    })
    await jobs.recover({ isAlone: true })
    expect(await endOf(jobs, jobId)).toMatchObject(expected)
  })

  test('who watches such a job sees how it ends', async () => {
    const jobId = await left()
    const jobs = aHub(async ({ isResumed }) => ({ isResumed }), { recover: async () => ({ next: 'run' }) })
    const sleeperCount = clock.sleeperCount
    const ending = endOf(jobs, jobId)
    await expect.poll(() => clock.sleeperCount).toBe(sleeperCount + 1)
    await jobs.recover({ isAlone: true })
    await clock.advance(500)
    expect(await ending).toMatchObject({ state: 'succeeded', result: { isResumed: true } })
  })

  test('a recovery that throws fails the job', async () => {
    const jobId = await left()
    const jobs = aHub(async () => undefined, { recover: () => Promise.reject(new Error('broken')) })
    await jobs.recover({ isAlone: true })
    expect(await jobs.get(jobId)).toMatchObject({ state: 'failed', failure: { code: 'job-interrupted' } })
  })

  test('a job that another process holds is left alone until its lease ends', async () => {
    const jobId = await left()
    const jobs = aHub(async () => undefined)
    await jobs.recover({ isAlone: false })
    expect(await jobs.endOf(jobId)).toBeUndefined()
    await clock.advance(61_000)
    await jobs.recover({ isAlone: false })
    expect((await jobs.get(jobId)).state).toBe('failed')
  })
})

describe('beside another Hub with the same database', () => {
  const recoverable = { recover: async () => ({ next: 'run' }) as const }

  test('a job is taken over when its Hub is gone for longer than its lease, by one of those that look', async () => {
    const gone = aHub(({ signal }) => untilAborted(signal), recoverable)
    const jobId = await start(gone)
    await expect.poll(async () => (await store.get(jobId))?.state).toBe('running')
    await gone.close()
    let runs = 0
    const others = [0, 1].map(() =>
      aHub(async ({ isResumed }) => {
        runs++
        return { isResumed }
      }, recoverable),
    )
    for (const hub of others) await hub.recover({ isAlone: false })
    await clock.advance(60_000)
    expect(runs).toBe(0)
    await clock.advance(60_000)
    await expect.poll(async () => (await store.get(jobId))?.state).toBe('succeeded')
    expect((await store.get(jobId))?.result).toEqual({ isResumed: true })
    expect(runs).toBe(1)
  })

  test('a Hub that could not reach the database for a while keeps its jobs', async () => {
    let runs = 0
    const run: JobDefinition<Input>['run'] = ({ signal }) => {
      runs++
      return untilAborted(signal)
    }
    const [hub, other] = [aHub(run, recoverable), aHub(run, recoverable)]
    await other.recover({ isAlone: false })
    const jobId = await start(hub)
    await expect.poll(async () => (await store.get(jobId))?.state).toBe('running')
    const owner = (await store.get(jobId))?.leaseOwner
    const { renewLeases, listUnfinished } = store
    const away = () => Promise.reject(new Error('the database is away'))
    Object.assign(store, { renewLeases: away, listUnfinished: away })
    await clock.advance(5 * 60_000)
    // The other Hub is the first that sees it again.
    store.listUnfinished = listUnfinished
    await clock.advance(30_000)
    store.renewLeases = renewLeases
    await clock.advance(5 * 60_000)
    expect((await store.get(jobId))?.leaseOwner).toBe(owner)
    expect(runs).toBe(1)
  })

  test('a job that takes long to recover is not taken over meanwhile', async () => {
    const gone = aHub(({ signal }) => untilAborted(signal), recoverable)
    const jobId = await start(gone)
    await expect.poll(async () => (await store.get(jobId))?.state).toBe('running')
    await gone.close()
    const slow = Promise.withResolvers<Recovery>()
    let recoveries = 0
    const recover = () => {
      recoveries++
      return slow.promise
    }
    const others = [0, 1].map(() => aHub(async () => undefined, { recover }))
    for (const hub of others) await hub.recover({ isAlone: false })
    await clock.advance(10 * 60_000)
    expect(recoveries).toBe(1)
    slow.resolve({ next: 'cancel' })
    await expect.poll(async () => (await store.get(jobId))?.state).toBe('cancelled')
  })
})

describe('while the Hub stops', () => {
  test('jobs are aborted, clean up, and fail as interrupted', async () => {
    let isCleanedUp = false
    const jobs = aHub(async ({ step, signal }) => {
      await step(
        'open',
        async () => 1,
        async () => {
          isCleanedUp = true
        },
      )
      return step('read', () => untilAborted(signal))
    })
    const jobId = await start(jobs)
    await expect.poll(async () => stepStates(await jobs.get(jobId))[1]).toBe('running')
    await jobs.close()
    expect(isCleanedUp).toBe(true)
    expect(await store.get(jobId)).toMatchObject({ state: 'failed', failure: { code: 'job-interrupted' } })
    await expect(start(jobs)).rejects.toMatchObject({ code: 'job-interrupted' })
  })

  test('a kind that can recover goes on in the next process', async () => {
    const more = { recover: async () => ({ next: 'run' }) as const }
    const jobs = aHub(({ signal }) => untilAborted(signal), more)
    const jobId = await start(jobs)
    await expect.poll(async () => (await jobs.get(jobId)).state).toBe('running')
    const watching = endOf(jobs, jobId).catch((error: unknown) => error)
    await jobs.close()
    expect(await watching).toMatchObject({ code: 'job-interrupted' })
    expect((await store.get(jobId))?.state).toBe('running')
    const next = aHub(async ({ isResumed }) => ({ isResumed }), more)
    await next.recover({ isAlone: true })
    expect(await endOf(next, jobId)).toMatchObject({ state: 'succeeded', result: { isResumed: true } })
  })

  test('a job that does not end is not waited for beyond the grace', async () => {
    const jobs = aHub(() => new Promise(() => undefined))
    const jobId = await start(jobs)
    await expect.poll(async () => (await jobs.get(jobId)).state).toBe('running')
    const closing = jobs.close()
    await clock.advance(10_000)
    await closing
  })
})

test('leases are renewed while jobs run', async () => {
  const jobs = aHub(({ signal }) => untilAborted(signal))
  const jobId = await start(jobs)
  await expect.poll(async () => (await jobs.get(jobId)).state).toBe('running')
  const before = (await store.get(jobId))?.leaseExpiresAt
  await clock.advance(30_000)
  const leaseMs = async () => (await store.get(jobId))?.leaseExpiresAt?.getTime()
  expect(await leaseMs()).toBe((before?.getTime() ?? 0) + 30_000)
  jobs.report(jobId, [aDisk(100)])
  await jobs.setStep(jobId, 'open', 'running')
  expect(await leaseMs()).toBe((before?.getTime() ?? 0) + 30_000)
})

describe('on the real database', () => {
  const databases = testDatabases()
  test('fifty jobs with steps and reports end as they should', async () => {
    store = new JobsTypeormStore(await databases.open())
    const jobs = aHub(async ({ step, report, input }) => {
      await step('open', async () => 1)
      report([aDisk(100)])
      await step('read', async () => {
        if (Number(input.name) % 5 === 0) throw new AppError('disk-read-failed')
      })
      return { name: input.name }
    })
    const ids = await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        jobs.start({
          kind: 'verify',
          subject: `${i}`,
          subjectId: newId(),
          input: { name: `${i}` },
          lockKey: `k${i}`,
        }),
      ),
    )
    const ends = await Promise.all(ids.map(id => endOf(jobs, id)))
    expect(ends.filter(end => end.state === 'succeeded')).toHaveLength(40)
    expect(ends.filter(end => end.failure?.code === 'disk-read-failed')).toHaveLength(10)
    expect(await store.listUnfinished()).toEqual([])
    const page = await jobs.list({ limit: 100, state: 'failed' })
    expect(page.items).toHaveLength(10)
    await Promise.all(services.splice(0).map(service => service.close()))
  })
})
