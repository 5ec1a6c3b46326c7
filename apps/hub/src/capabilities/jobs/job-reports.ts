import type { ProblemCode } from '@sendense/contracts'
import { AppError } from '@sendense/platform'
import type { JobResult, JobRun } from './job-definition.ts'

/** So much of a list is kept with a job: a repository can have a million problems. */
const LISTED_MAX = 1000
/** So much of it is told in one sentence. */
const TOLD_MAX = 5

interface Work {
  readonly totalBytes: number
  readonly readBytes: number
  /** What was made of it; nothing where work only reads. */
  readonly newBytes?: number
  /** 0 for work on a whole VM or repository. */
  readonly diskKey?: number
}

/** Tells how far a job is that is not a capture, in the counters that every job has. */
export function reportBytes(
  run: Pick<JobRun<never>, 'report'>,
  { totalBytes, readBytes, newBytes = 0, diskKey = 0 }: Work,
): void {
  const bytes = {
    logicalBytes: totalBytes,
    changedBytes: totalBytes,
    readBytes,
    newBytes,
    storedBytes: newBytes,
  }
  run.report([{ diskKey, bytes, isDone: totalBytes > 0 && readBytes >= totalBytes }])
}

/** What was found damaged, as the failure of a job. All of it is kept with the job. */
export function damageOf(code: ProblemCode, damaged: readonly string[]): AppError {
  const some = damaged.slice(0, TOLD_MAX).join('; ')
  const more = damaged.length > TOLD_MAX ? '; and more, see what the job has found' : ''
  return new AppError(code, { detail: `${damaged.length} problems were found: ${some}${more}` })
}

/** A report whose lists are no longer than can be kept, with their real lengths. */
export function bounded(report: object): JobResult {
  const counts: Record<string, number> = {}
  const entries = Object.entries(report).map(([name, value]) => {
    if (!Array.isArray(value)) return [name, value]
    counts[name] = value.length
    return [name, value.slice(0, LISTED_MAX)]
  })
  return { ...Object.fromEntries(entries), counts }
}
