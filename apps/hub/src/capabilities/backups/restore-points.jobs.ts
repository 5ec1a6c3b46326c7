import type { Clock } from '@sendense/platform'
import type { JobDefinition } from '../jobs/index.ts'
import type { BackupsPorts } from './backups.ports.ts'
import type { BackupsStore } from './backups.store.ts'
import { ForgetInput, forgetReport, planForget, removePoints } from './forget-restore-points.ts'

const DAY_MS = 24 * 60 * 60 * 1000

interface Options {
  store: BackupsStore
  repositories: BackupsPorts['repositories']
  clock: Clock
}

/** The job that removes the restore points that no rule keeps. */
export function forgetJob({ store, repositories, clock }: Options): JobDefinition<ForgetInput> {
  return {
    kind: 'forget',
    input: ForgetInput,
    steps: [
      { name: 'decide', title: 'Decide which restore points stay' },
      { name: 'remove', title: 'Remove the others' },
    ],
    timeoutMs: DAY_MS,
    run: async run => {
      const { repositoryId, dryRun } = run.input
      const { repository } = await repositories.open(repositoryId)
      const { points, unknownCount } = await run.step('decide', () =>
        planForget(run.input, repository, { store, clock }),
      )
      if (dryRun) return forgetReport(points, unknownCount, true)
      const options = { store, signal: run.signal }
      await run.step('remove', () => removePoints(points, repository, options))
      repositories.measureSoon(repositoryId)
      return forgetReport(points, unknownCount, false)
    },
    recover: async ({ isCancelling }) => ({ next: isCancelling ? 'cancel' : 'run' }),
  }
}
