import type { JobId, Page, PageQuery } from '@sendense/contracts'
import { pageOfArray } from '../../testing/page-of-array.ts'
import {
  isFinished,
  isSameLease,
  type Job,
  type JobEvent,
  type JobFilter,
  type JobsStore,
  type Lease,
} from './jobs.store.ts'

/** The fake: passes the same suite as the real store. */
export class JobsMemoryStore implements JobsStore {
  readonly #jobs = new Map<JobId, Job>()
  readonly #events: JobEvent[] = []

  async add(job: Job): Promise<boolean> {
    const isTaken = [...this.#jobs.values()].some(one => one.lockKey !== null && one.lockKey === job.lockKey)
    if (!isTaken) this.#jobs.set(job.id, structuredClone(job))
    return !isTaken
  }

  async save(job: Job): Promise<void> {
    if (this.#jobs.has(job.id)) this.#jobs.set(job.id, structuredClone(job))
  }

  async get(id: JobId): Promise<Job | undefined> {
    return structuredClone(this.#jobs.get(id))
  }

  async list({ kind, state, ...query }: PageQuery & JobFilter): Promise<Page<Job>> {
    const jobs = [...this.#jobs.values()].filter(
      job => (kind === undefined || job.kind === kind) && (state === undefined || job.state === state),
    )
    return structuredClone(pageOfArray(jobs, query, job => job.id, 'descending'))
  }

  async listUnfinished(): Promise<Job[]> {
    const jobs = [...this.#jobs.values()].filter(job => !isFinished(job))
    return structuredClone(jobs.sort((one, other) => (one.id < other.id ? -1 : 1)))
  }

  async renewLeases(owner: string, heartbeatAt: Date, leaseExpiresAt: Date): Promise<void> {
    for (const job of await this.listUnfinished()) {
      if (job.leaseOwner === owner) await this.save({ ...job, heartbeatAt, leaseExpiresAt })
    }
  }

  async claim(seen: Lease & Pick<Job, 'id'>, lease: Lease & Pick<Job, 'heartbeatAt'>): Promise<boolean> {
    const job = this.#jobs.get(seen.id)
    if (!job || isFinished(job) || !isSameLease(job, seen)) return false
    this.#jobs.set(job.id, { ...job, ...structuredClone(lease) })
    return true
  }

  async addEvent(event: JobEvent): Promise<void> {
    this.#events.push({ ...event })
  }

  async listEvents(jobId: JobId): Promise<JobEvent[]> {
    return this.#events.filter(event => event.jobId === jobId)
  }
}
