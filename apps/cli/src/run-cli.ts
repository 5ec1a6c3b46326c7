import { ApiProblem, ConnectionError, createClient } from '@sendense/client'
import { API_ROOT } from '@sendense/contracts'
import { pinnedAgent } from '@sendense/platform'
import { CommanderError } from 'commander'
import { buildProgram } from './build-program.ts'
import { CliError, EXIT_CODES } from './cli-error.ts'
import type { CommandContext } from './command-context.ts'
import { readSession } from './session-file.ts'
import type { Terminal } from './terminal.ts'

/** Runs one command line and returns the exit status. Never throws. */
export async function runCli(
  args: readonly string[],
  { terminal, version, signal }: { terminal: Terminal; version: string; signal: AbortSignal },
): Promise<number> {
  const context: CommandContext = { terminal, signal, client: sessionClient }
  try {
    await buildProgram(context, version).parseAsync([...args], { from: 'user' })
    return 0
  } catch (error) {
    return reportError(error, terminal)
  }
}

async function sessionClient() {
  const { url, certificatePem, token } = await readSession()
  return createClient({
    baseUrl: new URL(API_ROOT, url).href,
    token: () => token,
    httpsAgent: pinnedAgent({ caPem: certificatePem }),
  })
}

function reportError(error: unknown, terminal: Terminal): number {
  // Commander has printed its own words already.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_CODES.usage
  if (error instanceof CliError) {
    terminal.remark(error.message)
    return EXIT_CODES[error.reason]
  }
  if (error instanceof ApiProblem) return reportProblem(error, terminal)
  if (error instanceof ConnectionError) {
    terminal.remark(`The Hub cannot be reached: ${error.message}`)
    return EXIT_CODES.unreachable
  }
  terminal.remark(error instanceof Error ? error.message : String(error))
  return EXIT_CODES.failed
}

function reportProblem({ problem }: ApiProblem, terminal: Terminal): number {
  terminal.remark(`${problem.detail ?? problem.title} (${problem.code})`)
  for (const { pointer, detail } of problem.errors ?? []) terminal.remark(`  ${pointer}: ${detail}`)
  if (problem.code === 'unauthenticated') {
    terminal.remark('The session has ended. Run: sendense login')
    return EXIT_CODES['not-logged-in']
  }
  return EXIT_CODES.failed
}
