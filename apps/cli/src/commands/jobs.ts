import { JobId, JobKind, JobState, type Progress } from '@sendense/contracts'
import { type Command, Option } from 'commander'
import { CliError } from '../cli-error.ts'
import { type CommandContext, show } from '../command-context.ts'
import { followJob } from '../follow-job.ts'
import { formatFields, formatInstant, formatTable } from '../format.ts'
import { progressLine } from '../job-progress.ts'

/** `jobs list|show|events|watch|cancel`. */
export function addJobCommands(program: Command, context: CommandContext): void {
  const jobs = program.command('jobs').description('long operations and their progress')
  jobs
    .command('list')
    .description('list the newest jobs')
    .addOption(new Option('--state <state>', 'only jobs in this state').choices(JobState.options))
    .addOption(new Option('--kind <kind>', 'only jobs of this kind').choices(JobKind.options))
    .action(async (query: { state?: JobState; kind?: JobKind }, command: Command) => {
      const { items } = await (await context.client()).jobs.listJobs({ query })
      show(context, command, items, () => jobTable(items))
    })
  jobs
    .command('show <job>')
    .description('show where a job stands')
    .action(async (id: string, _options: unknown, command: Command) => {
      const job = await (await context.client()).jobs.getProgress({ params: { jobId: toJobId(id) } })
      show(context, command, job, () => jobText(job))
    })
  jobs
    .command('events <job>')
    .description('list the history of a job, oldest first')
    .action(async (id: string, _options: unknown, command: Command) => {
      const params = { jobId: toJobId(id) }
      const found = await (await context.client()).jobs.listJobEvents({ params })
      show(context, command, found, () =>
        formatTable(
          ['when', 'level', 'what'],
          found.events.map(event => [formatInstant(event.at), event.level, event.message]),
        ),
      )
    })
  jobs
    .command('watch <job>')
    .description('follow a job to its end')
    .action(async (id: string, _options: unknown, command: Command) => {
      const job = await followJob(context, command, toJobId(id))
      show(context, command, job, () => jobText(job))
    })
  jobs
    .command('cancel <job>')
    .description('cancel a job; it ends when everything that it made is cleaned up')
    .action(async (id: string, _options: unknown, command: Command) => {
      const job = await (await context.client()).jobs.cancelJob({ params: { jobId: toJobId(id) } })
      show(context, command, job, () => jobText(job))
    })
}

function toJobId(text: string): JobId {
  const parsed = JobId.safeParse(text)
  if (!parsed.success) throw new CliError('usage', `"${text}" is no job id; see: sendense jobs list`)
  return parsed.data
}

function jobTable(all: readonly Progress[]): string {
  return formatTable(
    ['id', 'kind', 'subject', 'state', '%', 'started', 'finished'],
    all.map(job => [
      job.jobId,
      job.kind,
      job.subject,
      job.state,
      job.percent === null ? '-' : String(Math.floor(job.percent)),
      formatInstant(job.startedAt),
      formatInstant(job.finishedAt),
    ]),
  )
}

function jobText(job: Progress): string {
  const fields = formatFields([
    ['Id', job.jobId],
    ['Kind', job.kind],
    ['Subject', job.subject],
    ['State', job.state],
    ['Bytes', progressLine(job)],
    ...(job.failure ? [['Failure', `${job.failure.detail} (${job.failure.code})`] as const] : []),
  ])
  const steps = formatTable(
    ['step', 'state', 'started', 'finished'],
    job.steps.map(step => [
      step.title,
      step.state,
      formatInstant(step.startedAt),
      formatInstant(step.finishedAt),
    ]),
  )
  return `${fields}\n\n${steps}`
}
