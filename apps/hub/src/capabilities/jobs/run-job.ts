import type { DiskProgress, Failure } from '@sendense/contracts'
import { AppError, type Clock, type Logger } from '@sendense/platform'
import type { JobDefinition, JobResult, JobRun } from './job-definition.ts'
import type { Job, JobEvent } from './jobs.store.ts'
import type { LiveJob } from './live-job.ts'

/** How long the undo of one step may take before the next one is begun. */
const UNDO_TIMEOUT_MS = 60_000

export interface RunOptions {
  clock: Clock
  log: Logger
  isResumed: boolean
  note(level: JobEvent['level'], message: string): Promise<void>
}

/** How a job has ended. */
export type Ending =
  | { readonly state: 'succeeded'; readonly result: JobResult | null }
  | { readonly state: 'failed'; readonly failure: Failure; readonly result?: JobResult | undefined }
  | { readonly state: 'cancelled' }

interface Undo {
  readonly step: string
  readonly action: () => Promise<void>
}

/**
 * Does the work of a job:
 *
 * 1. The definition runs under a signal that is aborted by a cancel, by the deadline or by a stop of the Hub.
 * 2. When it throws, the steps that had succeeded are undone, the last one first.
 * 3. What it threw says how the job has ended; if the signal was aborted, the reason of the signal says it.
 *
 * Never rejects.
 */
export async function runJob<Input>(
  live: LiveJob,
  definition: JobDefinition<Input>,
  options: RunOptions,
): Promise<Ending> {
  const undos: Undo[] = []
  let found: JobResult | undefined
  const keep = (result: JobResult) => {
    found = result
  }
  const deadline = new AbortController()
  abortAtDeadline(live, definition.timeoutMs, options, deadline.signal)
  try {
    const result = await definition.run({ ...jobRun(live, definition, options, undos), keep })
    return { state: 'succeeded', result: result ?? null }
  } catch (error) {
    for (const undo of undos.reverse()) await undoStep(undo, options)
    const ending = endingOf(live, error, options.log)
    return ending.state === 'failed' ? { ...ending, result: found } : ending
  } finally {
    deadline.abort()
  }
}

function abortAtDeadline(
  live: LiveJob,
  timeoutMs: number,
  { clock }: RunOptions,
  hasEnded: AbortSignal,
): void {
  clock.sleep(timeoutMs, hasEnded).then(
    () => live.stop.abort(new AppError('job-timed-out')),
    () => undefined,
  )
}

function jobRun<Input>(
  live: LiveJob,
  definition: JobDefinition<Input>,
  { log, isResumed, note }: RunOptions,
  undos: Undo[],
): Omit<JobRun<Input>, 'keep'> {
  const { signal } = live.stop
  return {
    jobId: live.job.id,
    input: definition.input.parse(live.job.input),
    signal,
    isResumed,
    log,
    note,
    setStep: (name, state) => live.setStep(name, state),
    report: (disks: readonly DiskProgress[]) => live.report(disks),
    async step<T>(name: string, action: () => Promise<T>, undo?: (given: T) => Promise<void>): Promise<T> {
      signal.throwIfAborted()
      await live.setStep(name, 'running')
      const given = await action()
      if (undo) undos.push({ step: name, action: () => undo(given) })
      await live.setStep(name, 'succeeded')
      return given
    },
  }
}

async function undoStep({ step, action }: Undo, { clock, log, note }: RunOptions): Promise<void> {
  const ended = new AbortController()
  const timeout = clock.sleep(UNDO_TIMEOUT_MS, ended.signal).then(() => {
    throw new Error(`The undo did not end within ${UNDO_TIMEOUT_MS / 1000} s`)
  })
  try {
    await Promise.race([action(), timeout])
  } catch (error) {
    log.error('A step could not be undone', { step, error })
    await note('error', `The step "${step}" could not be undone; see the log of the Hub`)
  } finally {
    timeout.catch(() => undefined)
    ended.abort()
  }
}

function endingOf(live: LiveJob, error: unknown, log: Logger): Ending {
  const { aborted, reason } = live.stop.signal
  const appError = AppError.from(aborted ? reason : error)
  if (appError.code === 'job-cancelled') return { state: 'cancelled' }
  if (appError.code === 'internal' || (aborted && error !== reason))
    log.error('A job ended by an error', { error })
  return { state: 'failed', failure: appError.toFailure() }
}

/** The change that an ending makes to a job. */
export function ended(job: Job, ending: Ending, finishedAt: Date): Partial<Job> {
  return {
    state: ending.state,
    lockKey: null,
    leaseOwner: null,
    leaseExpiresAt: null,
    finishedAt,
    result: ending.state === 'cancelled' ? null : (ending.result ?? null),
    failure: ending.state === 'failed' ? ending.failure : null,
    steps: job.steps.map(step => {
      if (step.state === 'waiting') return { ...step, state: 'skipped' }
      if (step.state !== 'running') return step
      return { ...step, state: ending.state === 'succeeded' ? 'succeeded' : 'failed', finishedAt }
    }),
  }
}
