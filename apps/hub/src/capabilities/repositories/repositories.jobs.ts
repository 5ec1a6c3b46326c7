import { RepositoryId, VerifyRepositoryRequest } from '@sendense/contracts'
import type { CheckReport } from '@sendense/engine'
import { AppError } from '@sendense/platform'
import type { z } from 'zod'
import { throwFromEngine } from '../../platform/engine/engine-problem.ts'
import type { InterruptedJob, JobDefinition, JobRun, Recovery } from '../jobs/index.ts'
import type { RepositoriesService } from './repositories.service.ts'

const DAY_MS = 24 * 60 * 60 * 1000

/** What the jobs on whole repositories are started with. */
export const VerifyRepositoryInput = VerifyRepositoryRequest.extend({ repositoryId: RepositoryId })
export type VerifyRepositoryInput = z.output<typeof VerifyRepositoryInput>
interface Options {
  repositories: Pick<RepositoriesService, 'open'>
}

/** The job that says what of a repository was proven to be whole, and how fast it could be read. */
export function verifyRepositoryJob({ repositories }: Options): JobDefinition<VerifyRepositoryInput> {
  return {
    kind: 'repository-verify',
    input: VerifyRepositoryInput,
    steps: [{ name: 'check', title: 'Compare packs, index and restore points, and read what was asked for' }],
    timeoutMs: 14 * DAY_MS,
    run: async run => {
      const { repositoryId, scope } = run.input
      const { repository } = await repositories.open(repositoryId)
      const onProgress = ({ totalBytes, checkedBytes }: { totalBytes: number; checkedBytes: number }) =>
        report(run, { totalBytes, readBytes: checkedBytes })
      const options = { readData: scope === 'all', signal: run.signal, onProgress }
      const found = await run.step('check', () => repository.check(options).catch(throwFromEngine))
      if (found.problems.length > 0) throw damageOf(found)
      return { scope, ...found }
    },
    recover: async job => again(job),
  }
}

/** What was done stays done and is found done: the job goes through the rest. */
function again({ isCancelling }: Pick<InterruptedJob<unknown>, 'isCancelling'>): Recovery {
  return { next: isCancelling ? 'cancel' : 'run' }
}

/** Work on a whole repository, in the counters that every job has. */
function report<Input>(
  run: JobRun<Input>,
  { totalBytes, readBytes }: { totalBytes: number; readBytes: number },
): void {
  const bytes = { logicalBytes: totalBytes, changedBytes: totalBytes, readBytes, newBytes: 0, storedBytes: 0 }
  run.report([{ diskKey: 0, bytes, isDone: totalBytes > 0 && readBytes >= totalBytes }])
}

function damageOf({ problems }: CheckReport): AppError {
  const some = problems.slice(0, 5).join('; ')
  return new AppError('repository-damaged', { detail: `${problems.length} problems were found: ${some}` })
}
