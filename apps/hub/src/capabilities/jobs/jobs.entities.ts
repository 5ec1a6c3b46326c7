import { EntitySchema } from 'typeorm'
import { id, instant, int, json, longText, named, text } from '../../platform/database/columns.ts'
import type { Job, JobEvent, JobStep } from './jobs.store.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }
export type JobRow = Mutable<Omit<Job, 'steps'>>
export type JobStepRow = Mutable<JobStep> & { jobId: string; position: number }
export type JobEventRow = Mutable<JobEvent>

const nullable = { nullable: true } as const

export const JobEntity = new EntitySchema<JobRow>({
  name: 'Job',
  tableName: 'jobs',
  columns: {
    id: id({ primary: true }),
    kind: text(32),
    subject: text(255),
    subjectId: named('subject_id', id()),
    state: text(16),
    lockKey: named('lock_key', text(190, { unique: true, nullable: true })),
    input: json(),
    disks: json(),
    failure: json(nullable),
    result: json(nullable),
    createdAt: named('created_at', instant()),
    startedAt: named('started_at', instant(nullable)),
    finishedAt: named('finished_at', instant(nullable)),
    deadlineAt: named('deadline_at', instant(nullable)),
    heartbeatAt: named('heartbeat_at', instant(nullable)),
    leaseOwner: named('lease_owner', id(nullable)),
    leaseExpiresAt: named('lease_expires_at', instant(nullable)),
  },
  indices: [
    { name: 'ix_jobs_state', columns: ['state'] },
    { name: 'ix_jobs_subject', columns: ['subjectId'] },
  ],
})

const OF_JOB = {
  target: 'Job',
  type: 'many-to-one',
  joinColumn: { name: 'job_id' },
  onDelete: 'RESTRICT',
  onUpdate: 'NO ACTION',
} as const

export const JobStepEntity = new EntitySchema<JobStepRow & { job?: JobRow }>({
  name: 'JobStep',
  tableName: 'job_steps',
  columns: {
    jobId: named('job_id', id({ primary: true })),
    position: int({ primary: true }),
    name: text(64),
    title: text(190),
    state: text(16),
    startedAt: named('started_at', instant(nullable)),
    finishedAt: named('finished_at', instant(nullable)),
  },
  relations: { job: OF_JOB },
})

export const JobEventEntity = new EntitySchema<JobEventRow & { job?: JobRow }>({
  name: 'JobEvent',
  tableName: 'job_events',
  columns: {
    id: id({ primary: true }),
    jobId: named('job_id', id()),
    at: instant(),
    level: text(8),
    message: longText(),
  },
  relations: { job: OF_JOB },
  indices: [{ name: 'ix_job_events_job', columns: ['jobId'] }],
})

export const JobEntities = [JobEntity, JobStepEntity, JobEventEntity]
