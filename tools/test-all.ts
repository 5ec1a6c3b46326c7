import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Outcome, runStep } from './run-step.ts'
import { STEPS, type Step } from './steps.ts'
import { failedTests, sum } from './test-counts.ts'

/** Of a failed step, so many failed tests are repeated below the table. */
const FAILURES_SHOWN = 20

/** Of each of them so many lines, less where there are many: together five times as many at most. */
const FAILURE_LINES_SHOWN = 40

/** A line is cut after so many characters. */
const LINE_SHOWN = 500

/** Of the log of a failed step, so many lines are shown: what went wrong stands at its end. */
const LOG_LINES_SHOWN = 1000

export interface TestRun {
  steps: Step[]
  /** For the logs of the steps. */
  folder: string
  print: (text: string) => void
  signal?: AbortSignal
}

/**
 * Runs all steps, whatever becomes of each, so that one run shows all that is wrong. Prints a table, the names of
 * what failed and, as the very last line, `N passed, N failed`. Returns whether nothing failed.
 */
export async function testAll({ steps, print, ...context }: TestRun): Promise<boolean> {
  const outcomes: Outcome[] = []
  for (const step of steps) {
    if (context.signal?.aborted) break
    print(`...   ${step.name}`)
    const outcome = await runStep(step, context)
    outcomes.push(outcome)
    print(report(outcome))
  }

  const { passed, failed } = sum(outcomes.map(({ counts }) => counts))
  const unfinished = steps.length - outcomes.length
  print(`\n${table(outcomes)}\n`)
  for (const failure of outcomes.flatMap(failures)) print(failure)
  print(`${passed} passed, ${failed + unfinished} failed`)
  return failed + unfinished === 0
}

/** One line for a step that went well, and its log for one that did not. */
function report({ name, counts, durationMs, log }: Outcome): string {
  const line = `${counts.failed === 0 ? 'ok  ' : 'FAIL'}  ${name} (${seconds(durationMs)})`
  if (counts.failed === 0) return line
  const lines = log.trimEnd().split('\n').slice(-LOG_LINES_SHOWN)
  return [line, ...lines.map(text => `      ${text}`)].join('\n')
}

/**
 * What went wrong in a step, for whoever sees only the end of a long log: of each failed test its name and message, or
 * the end of a log that names none.
 */
function failures({ name, counts, log }: Outcome): string[] {
  if (counts.failed === 0) return []
  const found = failedTests(log)
  const all = found.length > 0 ? found : [log.trimEnd().split('\n').slice(-FAILURE_LINES_SHOWN)]
  const shown = all.slice(0, FAILURES_SHOWN)
  const linesMax = Math.min(FAILURE_LINES_SHOWN, Math.floor((5 * FAILURE_LINES_SHOWN) / shown.length))
  const more = all.length > shown.length ? [`and ${all.length - shown.length} more`] : []
  const lines = [...shown.flatMap(test => shortened(test, linesMax)), ...more]
  return [`FAIL  ${name}`, ...lines.map(line => `      ${line.slice(0, LINE_SHOWN)}`)]
}

/** Without what stands in the middle: the message is at the beginning, the place at the end. */
function shortened(lines: string[], linesMax: number): string[] {
  if (lines.length <= linesMax) return lines
  const ahead = Math.ceil((linesMax * 2) / 3)
  return [...lines.slice(0, ahead), '…', ...lines.slice(ahead + 1 - linesMax)]
}

function table(outcomes: Outcome[]): string {
  const rows = outcomes.map(({ name, counts: { passed, failed, skipped }, durationMs }) =>
    [name, seconds(durationMs), passed, failed, skipped].map(String),
  )
  const all = [['step', 'time', 'passed', 'failed', 'skipped'], ...rows]
  const widths = [0, 1, 2, 3, 4].map(column => Math.max(...all.map(row => row[column]?.length ?? 0)))
  const align = (cell: string, column: number) =>
    column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)
  return all.map(row => row.map(align).join('  ')).join('\n')
}

function seconds(durationMs: number): string {
  return `${(durationMs / 1000).toFixed(1)} s`
}

if (import.meta.main) {
  const stop = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => stop.abort())
  // Nobody reads on, as in `make test | head`: end as on a signal, so that no step outlives us.
  process.stdout.on('error', () => stop.abort())
  const folder = mkdtempSync(join(tmpdir(), 'sendense-test-'))
  try {
    const isGood = await testAll({
      steps: process.argv[2] === 'ready' ? STEPS.ready : STEPS.test,
      folder,
      print: text => console.log(text),
      signal: stop.signal,
    })
    process.exitCode = isGood ? 0 : 1
  } finally {
    rmSync(folder, { recursive: true })
  }
}
