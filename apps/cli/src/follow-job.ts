import type { JobId, Progress } from '@sendense/contracts'
import type { Command } from 'commander'
import { CliError } from './cli-error.ts'
import { type CommandContext, isJson } from './command-context.ts'
import { barView, lineView } from './job-progress.ts'

/** Follows a job to its end and returns its last state; fails when the job failed or was cancelled. */
export async function followJob(context: CommandContext, command: Command, jobId: JobId): Promise<Progress> {
  const last = await lastProgress(context, command, jobId)
  if (last.state === 'succeeded') return last
  const why = last.failure ? `${last.failure.detail} (${last.failure.code})` : `The job is ${last.state}.`
  throw new CliError('failed', why)
}

async function lastProgress(context: CommandContext, command: Command, jobId: JobId): Promise<Progress> {
  const { terminal, signal } = context
  const client = await context.client()
  const view =
    terminal.isInteractive && !isJson(command) ? barView(process.stderr) : lineView(terminal.remark)
  let last: Progress | undefined
  try {
    for await (const progress of await client.jobs.watchProgress({ params: { jobId } }, { signal })) {
      last = progress
      view.update(progress)
    }
  } finally {
    view.end()
  }
  if (!last) throw new CliError('unreachable', 'The Hub ended the stream before it told anything.')
  return last
}
