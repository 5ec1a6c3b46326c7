import {
  type DiskProgress,
  type JobEvent as JobEventView,
  type JobStep as JobStepView,
  type Progress,
  sumOfBytes,
} from '@sendense/contracts'
import { isFinished, type Job, type JobEvent, type JobStep } from './jobs.store.ts'

/** A job as the API shows it. */
export function toProgress(job: Job, bytesPerSecond: number | null = null): Progress {
  const { doneBytes, totalBytes } = workOf(job.disks)
  const rate = isFinished(job) ? null : bytesPerSecond
  return {
    jobId: job.id,
    kind: job.kind,
    subject: job.subject,
    subjectId: job.subjectId,
    state: job.state,
    steps: job.steps.map(toStepView),
    percent: job.state === 'succeeded' ? 100 : percentOf(doneBytes, totalBytes),
    bytes: sumOfBytes(job.disks.map(disk => disk.bytes)),
    disks: [...job.disks],
    bytesPerSecond: rate,
    remainingSeconds: rate ? Math.round((totalBytes - doneBytes) / rate) : null,
    createdAt: job.createdAt.toISOString(),
    startedAt: job.startedAt?.toISOString() ?? null,
    finishedAt: job.finishedAt?.toISOString() ?? null,
    failure: job.failure,
    result: job.result,
  }
}

/** A line of the history of a job as the API shows it. */
export function toEventView({ at, level, message }: JobEvent): JobEventView {
  return { at: at.toISOString(), level, message }
}

/** The work is what has to be looked at; reading whole chunks may go beyond it. */
export function workOf(disks: readonly DiskProgress[]): { doneBytes: number; totalBytes: number } {
  let doneBytes = 0
  let totalBytes = 0
  for (const { bytes, isDone } of disks) {
    totalBytes += bytes.changedBytes
    doneBytes += isDone ? bytes.changedBytes : Math.min(bytes.readBytes, bytes.changedBytes)
  }
  return { doneBytes, totalBytes }
}

/** 100 is said by the end of the job only. */
function percentOf(doneBytes: number, totalBytes: number): number | null {
  if (totalBytes === 0) return null
  return Math.min(99.9, Math.floor((doneBytes / totalBytes) * 1000) / 10)
}

function toStepView({ startedAt, finishedAt, ...step }: JobStep): JobStepView {
  return {
    ...step,
    startedAt: startedAt?.toISOString() ?? null,
    finishedAt: finishedAt?.toISOString() ?? null,
  }
}
