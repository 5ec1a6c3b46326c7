import type { DiskProgress, Failure, JobId, JobKind } from '@sendense/contracts'
import type { Logger } from '@sendense/platform'
import type { z } from 'zod'
import type { Job, JobEvent } from './jobs.store.ts'

export type JobResult = Record<string, unknown>

/** What a kind of job is: its steps as people see them, and the work itself. */
export interface JobDefinition<Input> {
  readonly kind: JobKind
  /** Reads the input back after a restart. */
  readonly input: z.ZodType<Input>
  readonly steps: readonly { readonly name: string; readonly title: string }[]
  /** How long it may run. When the time is over, its signal is aborted and it fails with `job-timed-out`. */
  readonly timeoutMs: number
  /**
   * Does the work, and cleans up after itself whatever happens: by `step` with an undo, or with `finally`. When the
   * signal is aborted it must end soon. What it throws becomes the failure of the job.
   */
  run(run: JobRun<Input>): Promise<JobResult | undefined>
  /**
   * Called at start-up for a job whose process died (or stopped) in the middle: repairs what is half done, and says
   * how the job goes on. Without it such a job fails with `job-interrupted`.
   */
  recover?(job: InterruptedJob<Input>): Promise<Recovery>
}

/** What the work of a job is given. */
export interface JobRun<Input> {
  readonly jobId: JobId
  readonly input: Input
  /** Aborted with the `AppError` that the job will end with: cancelled, timed out or interrupted by a stop. */
  readonly signal: AbortSignal
  /** Whether an earlier process has begun this job. */
  readonly isResumed: boolean
  readonly log: Logger
  /**
   * Runs one step, and records its begin and end. If the job fails later, `undo` is called with what the step gave,
   * the last step first. A step that fails cleans up by itself.
   */
  step<T>(name: string, action: () => Promise<T>, undo?: (given: T) => Promise<void>): Promise<T>
  /** Records the state of a step that is done elsewhere, for example by a Node. */
  setStep(name: string, state: 'running' | 'succeeded' | 'failed'): Promise<void>
  /** Tells how far the disks are. To be called about once a second; cheap. */
  report(disks: readonly DiskProgress[]): void
  /** Keeps what was found with the job, also when it fails. */
  keep(found: JobResult): void
  /** Adds a line to the history of the job. */
  note(level: JobEvent['level'], message: string): Promise<void>
}

export interface InterruptedJob<Input> {
  readonly jobId: JobId
  readonly input: Input
  /** The job as it was last saved. */
  readonly job: Job
  readonly isCancelling: boolean
}

/** How an interrupted job goes on: from its beginning, or not at all. */
export type Recovery =
  | { readonly next: 'run' }
  | { readonly next: 'succeed'; readonly result: JobResult | null }
  | { readonly next: 'fail'; readonly failure: Failure }
  | { readonly next: 'cancel' }
