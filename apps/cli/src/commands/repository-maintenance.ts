import { type JobId, VerifyScope } from '@sendense/contracts'
import { type Command, Option } from 'commander'
import { type CommandContext, show } from '../command-context.ts'
import { findRepository } from '../find-repository.ts'
import { followJob } from '../follow-job.ts'
import { formatBytes, formatFields } from '../format.ts'

/** `repository verify`. */
export function addMaintenanceCommands(repository: Command, context: CommandContext): void {
  repository
    .command('verify <repository>')
    .description('verify a repository')
    .addOption(
      new Option('--scope <scope>', 'how much of it is read')
        .choices(VerifyScope.options)
        .default('structure'),
    )
    .option('--no-wait', 'return as soon as the job has started')
    .action(async (wanted: string, options: { scope: VerifyScope; wait: boolean }, command: Command) => {
      const { params, repositories } = await target(context, wanted)
      const body = { scope: options.scope }
      const { jobId } = await repositories.verifyRepository({ params, body })
      await follow(context, command, jobId, options)
    })
}

async function target(context: CommandContext, wanted: string) {
  const { id } = await findRepository(context, wanted)
  const { repositories } = await context.client()
  return { params: { repositoryId: id }, repositories }
}

/** Waits for a job and shows what it found, or says how to follow it. */
async function follow(
  context: CommandContext,
  command: Command,
  jobId: JobId,
  { wait }: { wait: boolean },
): Promise<void> {
  if (!wait) {
    show(context, command, { jobId }, () => `Started. Follow it with: sendense jobs watch ${jobId}`)
    return
  }
  const { result } = await followJob(context, command, jobId)
  show(context, command, result, () => resultText(result ?? {}))
}

/** The numbers of a report, one a line. */
function resultText(result: Record<string, unknown>): string {
  const fields = Object.entries(result).flatMap(([name, value]): [string, string][] => {
    if (value === null || typeof value === 'object') return []
    return [
      [
        wordsOf(name),
        typeof value === 'number' && name.endsWith('Bytes') ? formatBytes(value) : String(value),
      ],
    ]
  })
  return formatFields(fields)
}

/** `removedPackCount` is `Removed pack count`. */
function wordsOf(name: string): string {
  const words = name.replaceAll(/[A-Z]/g, letter => ` ${letter.toLowerCase()}`)
  return words.slice(0, 1).toUpperCase() + words.slice(1)
}
