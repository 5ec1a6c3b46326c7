import type { JobId, Progress } from '@sendense/contracts'
import type { Command } from 'commander'
import { CliError } from './cli-error.ts'
import { type CommandContext, isJson, show } from './command-context.ts'
import { barView, lineView } from './job-progress.ts'

/** Tells which job was started, for the ones who do not wait. */
export function showStarted(
  context: CommandContext,
  command: Command,
  started: { readonly jobId: JobId },
): void {
  show(context, command, started, () => `Started. Follow it with: sendense jobs watch ${started.jobId}`)
}

/** Follows a job to its end and returns its last state; fails when the job failed or was cancelled. */
export async function followJob(context: CommandContext, command: Command, jobId: JobId): Promise<Progress> {
  const last = await endOfJob(context, command, jobId)
  requireSuccess(last)
  return last
}

/** Fails when a job that has ended failed or was cancelled. */
export function requireSuccess({ state, failure }: Progress): void {
  if (state === 'succeeded') return
  throw new CliError('failed', failure ? `${failure.detail} (${failure.code})` : `The job is ${state}.`)
}

/** Follows a job to its end, however it ends, and returns its last state. */
export async function endOfJob(context: CommandContext, command: Command, jobId: JobId): Promise<Progress> {
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
