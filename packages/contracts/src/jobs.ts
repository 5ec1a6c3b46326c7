import { z } from 'zod'
import { Bytes, Instant, PageQuery, pageOf } from './page.ts'
import { Failure } from './problem.ts'
import { defineRoutes } from './route.ts'

export const JobId = z.uuid().brand<'JobId'>()
export type JobId = z.output<typeof JobId>

export const JobKind = z
  .enum([
    'backup',
    'verify',
    'restore-disk',
    'copy',
    'forget',
    'repository-verify',
    'repository-prune',
    'repository-repair',
  ])
  .meta({ id: 'JobKind' })
export type JobKind = z.output<typeof JobKind>
export const JobState = z
  .enum(['queued', 'running', 'cancelling', 'succeeded', 'failed', 'cancelled'])
  .meta({ id: 'JobState' })
export type JobState = z.output<typeof JobState>

/** Bytes told apart: there is no single "speed" that would be honest. */
export const ByteCounters = z
  .object({
    logicalBytes: Bytes.meta({ description: 'Size of the disks that the job is about' }),
    changedBytes: Bytes.meta({
      description: 'Bytes in the areas that have to be looked at: changed or allocated',
    }),
    readBytes: Bytes.meta({ description: 'Bytes read from the source' }),
    newBytes: Bytes.meta({ description: 'Bytes that the repository (or the target) did not have' }),
    storedBytes: Bytes.meta({ description: 'Bytes written, after compression and encryption' }),
  })
  .meta({ id: 'ByteCounters' })
export type ByteCounters = z.output<typeof ByteCounters>

export const JobStep = z
  .object({
    name: z.string().meta({ description: 'Stable name of the step' }),
    title: z.string().meta({ description: 'Name for people' }),
    state: z
      .enum(['waiting', 'running', 'succeeded', 'failed', 'skipped'])
      .meta({ description: 'State of the step' }),
    startedAt: Instant.nullable().meta({ description: 'When it began' }),
    finishedAt: Instant.nullable().meta({ description: 'When it ended' }),
  })
  .meta({ id: 'JobStep' })
export type JobStep = z.output<typeof JobStep>

export const DiskProgress = z
  .object({
    diskKey: z.int().meta({ description: 'Device key of the disk' }),
    bytes: ByteCounters,
    isDone: z.boolean().meta({ description: 'Whether the disk is finished' }),
  })
  .meta({ id: 'DiskProgress' })
export type DiskProgress = z.output<typeof DiskProgress>

export const Progress = z
  .object({
    jobId: JobId.meta({ description: 'Id of the job' }),
    kind: JobKind,
    subject: z.string().meta({ description: 'What the job is about, for people' }),
    subjectId: z.uuid().meta({
      description:
        'Id of the backup that the job makes, verifies or restores from, or of the repository that it works on',
    }),
    state: JobState,
    steps: z.array(JobStep).meta({ description: 'The steps in order' }),
    percent: z
      .number()
      .min(0)
      .max(100)
      .nullable()
      .meta({ description: 'Share of the work done; null while unknown' }),
    bytes: ByteCounters,
    disks: z.array(DiskProgress).meta({ description: 'The same per disk' }),
    bytesPerSecond: z
      .number()
      .nonnegative()
      .nullable()
      .meta({ description: 'Rate at which work is done now' }),
    remainingSeconds: z.number().nonnegative().nullable().meta({ description: 'Estimate of what is left' }),
    createdAt: Instant.meta({ description: 'When it was asked for' }),
    startedAt: Instant.nullable().meta({ description: 'When it began; null while it waits for its turn' }),
    finishedAt: Instant.nullable().meta({ description: 'When it ended; null until then' }),
    failure: Failure.nullable().meta({ description: 'Why it failed' }),
    result: z.record(z.string(), z.unknown()).nullable().meta({
      description: 'What it produced or found, by kind of job; of a failed one too, where it found something',
    }),
  })
  .meta({ id: 'Progress' })
export type Progress = z.output<typeof Progress>

export const JobEvent = z
  .object({
    at: Instant.meta({ description: 'When it happened' }),
    level: z.enum(['info', 'warn', 'error']).meta({ description: 'How serious it is' }),
    message: z.string().meta({ description: 'What happened, for people' }),
  })
  .meta({ id: 'JobEvent' })
export type JobEvent = z.output<typeof JobEvent>

const JobParams = z.object({ jobId: JobId.meta({ description: 'Id of the job' }) })

export const jobRoutes = defineRoutes({
  listJobs: {
    method: 'get',
    path: '/jobs',
    summary: 'List jobs, newest first',
    permission: 'jobs:read',
    query: PageQuery.extend({
      kind: JobKind.optional().meta({ description: 'Only jobs of this kind' }),
      state: JobState.optional().meta({ description: 'Only jobs in this state' }),
    }),
    response: pageOf('ProgressPage', Progress),
  },
  getProgress: {
    method: 'get',
    path: '/progress/:jobId',
    summary: 'Get the progress of a job',
    permission: 'jobs:read',
    params: JobParams,
    response: Progress,
    problems: ['not-found'],
  },
  watchProgress: {
    method: 'get',
    path: '/progress/:jobId/stream',
    summary: 'Follow the progress of a job until it ends',
    description: 'Server-sent events. The first event tells the state now, the last one the final state.',
    permission: 'jobs:read',
    params: JobParams,
    events: Progress,
    problems: ['not-found'],
  },
  listJobEvents: {
    method: 'get',
    path: '/jobs/:jobId/events',
    summary: 'List the history of a job, oldest first',
    permission: 'jobs:read',
    params: JobParams,
    response: z
      .object({ events: z.array(JobEvent).meta({ description: 'Oldest first' }) })
      .meta({ id: 'JobEvents' }),
    problems: ['not-found'],
  },
  cancelJob: {
    method: 'post',
    path: '/jobs/:jobId/cancel',
    summary: 'Cancel a job; it ends when everything that it made is cleaned up',
    permission: 'jobs:cancel',
    status: 202,
    params: JobParams,
    response: Progress,
    problems: ['not-found', 'conflict'],
  },
})

/** Zero of everything. */
export const NO_BYTES: ByteCounters = {
  logicalBytes: 0,
  changedBytes: 0,
  readBytes: 0,
  newBytes: 0,
  storedBytes: 0,
}

/** Adds counters up. */
export function sumOfBytes(all: readonly ByteCounters[]): ByteCounters {
  const sum = { ...NO_BYTES }
  for (const one of all) {
    for (const name of Object.keys(sum) as (keyof ByteCounters)[]) sum[name] += one[name]
  }
  return sum
}
