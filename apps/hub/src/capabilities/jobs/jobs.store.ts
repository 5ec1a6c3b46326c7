import type {
  DiskProgress,
  Failure,
  JobId,
  JobKind,
  JobState,
  JobStep as JobStepView,
  Page,
  PageQuery,
} from '@sendense/contracts'

export type StepState = JobStepView['state']

export interface JobStep {
  readonly name: string
  readonly title: string
  readonly state: StepState
  readonly startedAt: Date | null
  readonly finishedAt: Date | null
}

/** A job as the Hub keeps it. */
export interface Job {
  readonly id: JobId
  readonly kind: JobKind
  readonly subject: string
  readonly subjectId: string
  readonly state: JobState
  /** Of the jobs that have not ended only one may hold a key; null after the end. */
  readonly lockKey: string | null
  /** What it was started with. Holds no secret. */
  readonly input: unknown
  readonly steps: readonly JobStep[]
  readonly disks: readonly DiskProgress[]
  readonly failure: Failure | null
  readonly result: Record<string, unknown> | null
  readonly createdAt: Date
  readonly startedAt: Date | null
  readonly finishedAt: Date | null
  /** When it is ended from here at the latest. */
  readonly deadlineAt: Date | null
  /** Last sign of life of the process that runs it. */
  readonly heartbeatAt: Date | null
  /** The process that runs it, and until when nobody else may take it over. */
  readonly leaseOwner: string | null
  readonly leaseExpiresAt: Date | null
}

/** Who runs a job, and until when nobody else may take it over. */
export type Lease = Pick<Job, 'leaseOwner' | 'leaseExpiresAt'>

/** One line of the history of a job. */
export interface JobEvent {
  readonly id: string
  readonly jobId: JobId
  readonly at: Date
  readonly level: 'info' | 'warn' | 'error'
  readonly message: string
}

export interface JobFilter {
  kind?: JobKind | undefined
  state?: JobState | undefined
}

export interface JobsStore {
  /** Adds a job with its steps. False when a job that has not ended holds its lock key. */
  add(job: Job): Promise<boolean>
  /** Replaces what may change of a job, steps included, in one transaction. */
  save(job: Job): Promise<void>
  get(id: JobId): Promise<Job | undefined>
  /** Newest first. */
  list(query: PageQuery & JobFilter): Promise<Page<Job>>
  /** All jobs that have not ended, oldest first. */
  listUnfinished(): Promise<Job[]>
  /** Tells that a process still runs its jobs. */
  renewLeases(owner: string, heartbeatAt: Date, expiresAt: Date): Promise<void>
  /** Gives a job that has not ended another lease, of several callers to one. False unless it has the lease that was seen. */
  claim(seen: Lease & Pick<Job, 'id'>, lease: Lease & Pick<Job, 'heartbeatAt'>): Promise<boolean>
  addEvent(event: JobEvent): Promise<void>
  /** Oldest first. */
  listEvents(jobId: JobId): Promise<JobEvent[]>
}

export const UNFINISHED: readonly JobState[] = ['queued', 'running', 'cancelling']

export function isFinished({ state }: { readonly state: JobState }): boolean {
  return !UNFINISHED.includes(state)
}

/** False when it was renewed meanwhile, or given to another. */
export function isSameLease(one: Lease, other: Lease): boolean {
  return (
    one.leaseOwner === other.leaseOwner && one.leaseExpiresAt?.getTime() === other.leaseExpiresAt?.getTime()
  )
}
