import type { JobId, JobState, Page, PageQuery } from '@sendense/contracts'
import { type EntityManager, In, IsNull } from 'typeorm'
import { type Db, findPage, isUniqueViolation } from '../../platform/database/index.ts'
import { JobEntity, JobEventEntity, type JobRow, JobStepEntity, type JobStepRow } from './jobs.entities.ts'
import {
  type Job,
  type JobEvent,
  type JobFilter,
  type JobsStore,
  type Lease,
  UNFINISHED,
} from './jobs.store.ts'

/** Jobs in the database. */
export class JobsTypeormStore implements JobsStore {
  readonly #db: Db

  constructor(db: Db) {
    this.#db = db
  }

  async add({ steps, ...row }: Job): Promise<boolean> {
    try {
      await this.#db.write(async manager => {
        await manager.insert(JobEntity, row as object)
        if (steps.length > 0) await manager.insert(JobStepEntity, stepRows(row.id, steps))
      })
      return true
    } catch (error) {
      // The id is new; the only other thing that must be unique is the lock key.
      if (isUniqueViolation(error)) return false
      throw error
    }
  }

  async save({ steps, id, ...row }: Job): Promise<void> {
    await this.#db.write(async manager => {
      await manager.update(JobEntity, { id }, row as object)
      for (const { jobId, position, ...step } of stepRows(id, steps)) {
        await manager.update(JobStepEntity, { jobId, position }, step)
      }
    })
  }

  async get(id: JobId): Promise<Job | undefined> {
    return this.#db.read(async manager => {
      const row = await manager.findOneBy(JobEntity, { id })
      return row ? (await withSteps(manager, [row]))[0] : undefined
    })
  }

  async list({ kind, state, ...query }: PageQuery & JobFilter): Promise<Page<Job>> {
    const where = { ...(kind && { kind }), ...(state && { state }) }
    return this.#db.read(async manager => {
      const newestFirst = { by: 'id', direction: 'descending' } as const
      const page = await findPage(manager.getRepository(JobEntity), where, newestFirst, query)
      return { ...page, items: await withSteps(manager, page.items) }
    })
  }

  listUnfinished(): Promise<Job[]> {
    return this.#db.read(async manager => {
      const where = { state: In(UNFINISHED as JobState[]) }
      return withSteps(manager, await manager.find(JobEntity, { where, order: { id: 'ASC' } }))
    })
  }

  async renewLeases(owner: string, heartbeatAt: Date, leaseExpiresAt: Date): Promise<void> {
    const mine = { leaseOwner: owner, state: In(UNFINISHED as JobState[]) }
    await this.#db.write(manager => manager.update(JobEntity, mine, { heartbeatAt, leaseExpiresAt }))
  }

  async claim(
    { id, leaseOwner, leaseExpiresAt }: Lease & Pick<Job, 'id'>,
    lease: Lease & Pick<Job, 'heartbeatAt'>,
  ): Promise<boolean> {
    const seen = { leaseOwner: leaseOwner ?? IsNull(), leaseExpiresAt: leaseExpiresAt ?? IsNull() }
    const unfinished = { id, state: In(UNFINISHED as JobState[]) }
    const { affected } = await this.#db.write(manager =>
      manager.update(JobEntity, { ...unfinished, ...seen }, lease),
    )
    return affected === 1
  }

  async addEvent(event: JobEvent): Promise<void> {
    await this.#db.write(manager => manager.insert(JobEventEntity, { ...event }))
  }

  listEvents(jobId: JobId): Promise<JobEvent[]> {
    return this.#db.read(manager => manager.find(JobEventEntity, { where: { jobId }, order: { id: 'ASC' } }))
  }
}

async function withSteps(manager: EntityManager, rows: readonly JobRow[]): Promise<Job[]> {
  const steps = await manager.find(JobStepEntity, {
    where: { jobId: In(rows.map(row => row.id)) },
    order: { position: 'ASC' },
  })
  const byJob = Map.groupBy(steps, step => step.jobId)
  return rows.map(row => ({
    ...row,
    steps: (byJob.get(row.id) ?? []).map(({ jobId: _job, position: _position, ...step }) => step),
  }))
}

function stepRows(jobId: JobId, steps: Job['steps']): JobStepRow[] {
  return steps.map((step, position) => ({ ...step, jobId, position }))
}
