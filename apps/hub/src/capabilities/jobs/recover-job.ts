import { AppError, type Logger } from '@sendense/platform'
import type { JobDefinition, Recovery } from './job-definition.ts'
import type { Job } from './jobs.store.ts'

/** Decides how a job goes on whose process is gone. Never rejects. */
export async function recoverJob(
  job: Job,
  definition: JobDefinition<unknown> | undefined,
  log: Logger,
): Promise<Recovery> {
  const isCancelling = job.state === 'cancelling'
  if (!definition) return failed(`This version of the Hub knows no jobs of kind ${job.kind}`)
  if (job.startedAt === null) return isCancelling ? { next: 'cancel' } : { next: 'run' }
  if (!definition.recover) {
    return isCancelling
      ? { next: 'cancel' }
      : failed('The Hub was restarted while the job ran. Start it again')
  }
  try {
    const input = definition.input.parse(job.input)
    return await definition.recover({ jobId: job.id, input, job, isCancelling })
  } catch (error) {
    log.error('An interrupted job could not be recovered', { jobId: job.id, error })
    return failed(
      'The Hub was restarted while the job ran, and what it left could not be examined; see the log',
    )
  }
}

function failed(detail: string): Recovery {
  return { next: 'fail', failure: new AppError('job-interrupted', { detail }).toFailure() }
}
