import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Step } from './steps.ts'
import {
  type Counts,
  countCargoTests,
  countCheck,
  countGoTests,
  countVitestTests,
  readableGoLog,
  strictCounts,
} from './test-counts.ts'

/** How a step went. */
export interface Outcome {
  name: string
  counts: Counts
  durationMs: number
  /** What the step printed, ready to be shown. */
  log: string
}

/** How long the last children of a step may take to end after it. */
const LINGER_MS = 3000

/**
 * Runs one step in a process group of its own and counts what it did. Processes that a step leaves behind are
 * ended, and make it fail: whoever starts something also stops it.
 */
export async function runStep(
  step: Step,
  { folder, signal }: { folder: string; signal?: AbortSignal | undefined },
): Promise<Outcome> {
  const startedAt = performance.now()
  const fileName = step.name.replaceAll(/\W+/g, '-')
  const logFile = join(folder, `${fileName}.log`)
  const reportFile = join(folder, `${fileName}.json`)

  const output = openSync(logFile, 'w')
  const child = spawn('bash', ['-euo', 'pipefail', '-c', step.command], {
    stdio: ['ignore', output, output],
    detached: true,
    env: { ...process.env, CI: 'true', NO_COLOR: '1', REPORT: reportFile },
  })
  const limit = AbortSignal.timeout(step.timeLimitMinutes * 60_000)
  const exitCode = await ended(child, AbortSignal.any(signal ? [limit, signal] : [limit]))
  const isClean = await leftNothing(child)
  closeSync(output)

  const remarks = [
    ...(limit.aborted ? [`Ended after ${step.timeLimitMinutes} minutes.`] : []),
    ...(isClean ? [] : ['The step left processes running; they were ended.']),
  ]
  const log = readFileSync(logFile, 'utf8')
  const report = existsSync(reportFile) ? readFileSync(reportFile, 'utf8') : undefined
  return {
    name: step.name,
    counts: count(step, { exitCode: isClean ? exitCode : 1, log, report }),
    durationMs: performance.now() - startedAt,
    log: [step.kind === 'go' ? readableGoLog(log) : log, ...remarks].join('\n'),
  }
}

function count(
  { kind }: Step,
  { exitCode, log, report }: { exitCode: number; log: string; report: string | undefined },
): Counts {
  if (kind === 'check') return countCheck(exitCode)
  const nothing = { passed: 0, failed: 0, skipped: 0 }
  const vitest = report === undefined ? nothing : countVitestTests(report)
  const found = kind === 'vitest' ? vitest : kind === 'cargo' ? countCargoTests(log) : countGoTests(log)
  return strictCounts(found, exitCode)
}

/** Waits for the end of the child, which an abort brings about. */
async function ended(child: ChildProcess, signal: AbortSignal): Promise<number> {
  const abort = () => killGroup(child)
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('exit', code => resolve(code ?? 1))
    })
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

async function leftNothing(child: ChildProcess): Promise<boolean> {
  for (const endAt = performance.now() + LINGER_MS; performance.now() < endAt; await sleep(50)) {
    if (!isGroupAlive(child)) return true
  }
  killGroup(child)
  return false
}

function isGroupAlive(child: ChildProcess): boolean {
  return signalGroup(child, 0)
}

function killGroup(child: ChildProcess): void {
  signalGroup(child, 'SIGKILL')
}

/** False when the group has no member any more. */
function signalGroup(child: ChildProcess, signal: NodeJS.Signals | 0): boolean {
  if (child.pid === undefined) return false
  try {
    return process.kill(-child.pid, signal)
  } catch {
    return false
  }
}
