import { JobId, NO_BYTES } from '@sendense/contracts'
import { newId } from '@sendense/platform'
import { describe, expect, test } from 'vitest'
import type { Job, JobsStore } from './jobs.store.ts'

/** What every store of jobs promises. */
export function jobsStoreSuite(name: string, open: () => Promise<JobsStore>): void {
  describe(name, () => {
    test('a job comes back with its steps in order and all its fields', async () => {
      const store = await open()
      const job = aJob()
      expect(await store.add(job)).toBe(true)
      expect(await store.get(job.id)).toEqual(job)
      expect(await store.get(JobId.parse(newId()))).toBeUndefined()
    })

    test('what has changed is saved', async () => {
      const store = await open()
      const job = aJob()
      await store.add(job)
      const at = new Date('2026-01-01T01:02:03.004Z')
      const saved: Job = {
        ...job,
        state: 'failed',
        lockKey: null,
        disks: [{ diskKey: 2000, bytes: { ...NO_BYTES, readBytes: 2 ** 45 }, isDone: true }],
        failure: { code: 'disk-read-failed', detail: 'Sector 7' },
        result: { restorePointId: 'ab', nested: { list: [1, null] } },
        steps: job.steps.map(step => ({ ...step, state: 'succeeded', startedAt: at, finishedAt: at })),
        startedAt: at,
        finishedAt: at,
      }
      await store.save(saved)
      expect(await store.get(job.id)).toEqual(saved)
    })

    test('a lock key is held by one job until that gives it up', async () => {
      const store = await open()
      const first = aJob({ lockKey: 'backup:1' })
      expect(await store.add(first)).toBe(true)
      const refused = aJob({ lockKey: 'backup:1' })
      expect(await store.add(refused)).toBe(false)
      expect(await store.get(refused.id)).toBeUndefined()
      await store.save({ ...first, state: 'succeeded', lockKey: null })
      expect(await store.add(aJob({ lockKey: 'backup:1' }))).toBe(true)
    })

    test('many jobs may have no lock key', async () => {
      const store = await open()
      expect(await store.add(aJob({ lockKey: null }))).toBe(true)
      expect(await store.add(aJob({ lockKey: null }))).toBe(true)
    })

    test('a list is newest first, filtered, and paged without gap or repetition', async () => {
      const store = await open()
      const all: Job[] = []
      for (let i = 0; i < 5; i++) all.unshift(aJob({ kind: i % 2 ? 'verify' : 'backup' }))
      for (const job of all.toReversed()) await store.add(job)
      const seen: Job[] = []
      let cursor: string | undefined
      do {
        const page = await store.list({ limit: 2, ...(cursor !== undefined && { cursor }) })
        seen.push(...page.items)
        cursor = page.nextCursor
      } while (cursor !== undefined)
      expect(seen).toEqual(all)
      const verified = await store.list({ limit: 9, kind: 'verify', state: 'queued' })
      expect(verified.items.map(job => job.kind)).toEqual(['verify', 'verify'])
      expect(verified.nextCursor).toBeUndefined()
      expect((await store.list({ limit: 9, state: 'failed' })).items).toEqual([])
    })

    test('jobs that have not ended are listed, oldest first', async () => {
      const store = await open()
      const states = ['queued', 'running', 'succeeded', 'cancelling', 'failed', 'cancelled'] as const
      for (const state of states) await store.add(aJob({ state }))
      expect((await store.listUnfinished()).map(job => job.state)).toEqual([
        'queued',
        'running',
        'cancelling',
      ])
    })

    test('leases of one process are renewed, and no others', async () => {
      const store = await open()
      const [mine, other] = [newId(), newId()]
      const [job, foreign] = [aJob({ leaseOwner: mine }), aJob({ leaseOwner: other })]
      await store.add(job)
      await store.add(foreign)
      const [at, until] = [new Date('2026-01-01T00:00:10.000Z'), new Date('2026-01-01T00:01:10.000Z')]
      await store.renewLeases(mine, at, until)
      expect(await store.get(job.id)).toMatchObject({ heartbeatAt: at, leaseExpiresAt: until })
      expect(await store.get(foreign.id)).toEqual(foreign)
    })

    test('a job is taken over by one process, while nobody has renewed its lease', async () => {
      const store = await open()
      const [past, now] = [new Date('2026-01-01T00:00:10.123Z'), new Date('2026-01-01T00:01:10.123Z')]
      const leases = [0, 1, 2].map(() => ({ leaseOwner: newId(), heartbeatAt: now, leaseExpiresAt: now }))
      const left = aJob({ state: 'running', leaseOwner: newId(), leaseExpiresAt: past })
      const never = aJob({ state: 'queued' })
      for (const job of [left, never]) {
        await store.add(job)
        const claims = await Promise.all(leases.map(lease => store.claim(job, lease)))
        expect(claims.filter(isMine => isMine)).toHaveLength(1)
        expect(await store.get(job.id)).toEqual({ ...job, ...leases[claims.indexOf(true)] })
      }
      const [lease] = leases
      if (!lease) throw new Error('There is no lease')
      const alive = aJob({ state: 'running', leaseOwner: newId(), leaseExpiresAt: past })
      await store.add(alive)
      await store.renewLeases(alive.leaseOwner ?? '', now, now)
      expect(await store.claim(alive, lease)).toBe(false)
      const ended = aJob({ state: 'succeeded', leaseOwner: newId(), leaseExpiresAt: past })
      await store.add(ended)
      expect(await store.claim(ended, lease)).toBe(false)
      expect(await store.get(ended.id)).toEqual(ended)
    })

    test('events are kept in order, by job', async () => {
      const store = await open()
      const [job, other] = [aJob(), aJob()]
      await store.add(job)
      await store.add(other)
      const events = [0, 1].map(second => ({
        id: newId(),
        jobId: job.id,
        at: new Date(second * 1000),
        level: 'info' as const,
        message: `Line ${second}`,
      }))
      for (const event of events) await store.addEvent(event)
      expect(await store.listEvents(job.id)).toEqual(events)
      expect(await store.listEvents(other.id)).toEqual([])
    })
  })
}

function aJob(overrides: Partial<Job> = {}): Job {
  return {
    id: JobId.parse(newId()),
    kind: 'backup',
    subject: 'db1',
    subjectId: newId(),
    state: 'queued',
    lockKey: null,
    input: { vmId: newId(), tags: { a: 'ü' } },
    steps: ['snapshot', 'read', 'commit'].map(name => ({
      name,
      title: `Title of ${name}`,
      state: 'waiting',
      startedAt: null,
      finishedAt: null,
    })),
    disks: [],
    failure: null,
    result: null,
    createdAt: new Date('2026-01-01T00:00:00.123Z'),
    startedAt: null,
    finishedAt: null,
    deadlineAt: null,
    heartbeatAt: null,
    leaseOwner: null,
    leaseExpiresAt: null,
    ...overrides,
  }
}
