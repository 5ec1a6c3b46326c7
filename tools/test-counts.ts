/** What a step of the test run amounts to. */
export interface Counts {
  passed: number
  failed: number
  /** What was not run is not tested: a step with skipped tests fails. */
  skipped: number
}

/** Adds up the `test result:` lines that `cargo test` prints for each test program. */
export function countCargoTests(log: string): Counts {
  const results = log.matchAll(/^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;/gm)
  return sum([...results].map(([, passed, failed, ignored]) => counts(passed, failed, ignored)))
}

/** With these lines begins what a log says of a failed test. */
const FAILURE = /^ *FAIL {2}|^test .+ FAILED$|^---- .+ ----$|^ *--- FAIL: /
/** These begin it where no such line came before. */
const LOOSE_FAILURE = / panicked at |^\w*Error:( |$)/
/** With these it ends: Vitest's rule, what Cargo says after a panic and of other tests, Go's next test. */
const FAILURE_END =
  /^⎯+|^stack backtrace:$|^note: run with |^failures:$|^test .+ \.\.\. |^test result: |^=== /

/** What a log says of each failed test, whichever program ran it, in lines: its name, its message, its place. Each once. */
export function failedTests(log: string): string[][] {
  const failures: string[][] = []
  let open: string[] | undefined
  for (const line of log.split('\n').map(text => text.trimEnd())) {
    if (FAILURE.test(line) || (open === undefined && LOOSE_FAILURE.test(line))) {
      open = []
      failures.push(open)
    } else if (FAILURE_END.test(line)) {
      open = undefined
    }
    if (line !== '') open?.push(line)
  }
  return [...new Map(failures.map(lines => [lines.join('\n'), lines])).values()]
}

/** Counts the tests without subtests in the events of `go test -json`, and packages that fail without one. */
export function countGoTests(log: string): Counts {
  const ended = goEvents(log).filter(({ Action }) => ['pass', 'fail', 'skip'].includes(Action))
  const tests = ended.filter(event => event.Test !== undefined)
  const leaves = tests.filter(test => !tests.some(other => isSubtest(other, test)))
  const failed = leaves.filter(({ Action }) => Action === 'fail')
  const brokenPackages = ended.filter(
    event =>
      event.Test === undefined &&
      event.Action === 'fail' &&
      !failed.some(test => test.Package === event.Package),
  )
  return {
    passed: leaves.filter(({ Action }) => Action === 'pass').length,
    failed: failed.length + brokenPackages.length,
    skipped: leaves.filter(({ Action }) => Action === 'skip').length,
  }
}

/** Turns the events of `go test -json` back into what a person reads; other lines stay as they are. */
export function readableGoLog(log: string): string {
  const text = log.split(/(?<=\n)/).map(line => {
    const event = toGoEvent(line)
    return event === undefined ? line : (event.Output ?? '')
  })
  return text.join('')
}

/** Reads the report of Vitest's JSON reporter. A file that could not be loaded is one failed test. */
export function countVitestTests(report: string): Counts {
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, testResults } = JSON.parse(
    report,
  ) as VitestReport
  const brokenFiles = testResults.filter(
    ({ status, assertionResults }) =>
      status === 'failed' && !assertionResults.some(test => test.status === 'failed'),
  )
  return {
    passed: numPassedTests,
    failed: numFailedTests + brokenFiles.length,
    skipped: numPendingTests + numTodoTests,
  }
}

/** A check counts as one test. */
export function countCheck(exitCode: number): Counts {
  return exitCode === 0 ? { passed: 1, failed: 0, skipped: 0 } : { passed: 0, failed: 1, skipped: 0 }
}

/**
 * Makes sure that a suite cannot pass on nothing: one that ran no test, skipped some, or ended badly without
 * naming a failed test has failed.
 */
export function strictCounts(found: Counts, exitCode: number): Counts {
  const isSilent = found.passed + found.failed === 0
  const isUnexplained = exitCode !== 0 && found.failed === 0
  const mustFail = found.failed === 0 && (isSilent || isUnexplained || found.skipped > 0)
  return mustFail ? { ...found, failed: 1 } : found
}

export function sum(all: Counts[]): Counts {
  return all.reduce(
    (total, one) => ({
      passed: total.passed + one.passed,
      failed: total.failed + one.failed,
      skipped: total.skipped + one.skipped,
    }),
    { passed: 0, failed: 0, skipped: 0 },
  )
}

interface VitestReport {
  numPassedTests: number
  numFailedTests: number
  numPendingTests: number
  numTodoTests: number
  testResults: { status: string; assertionResults: { status: string }[] }[]
}

interface GoEvent {
  Action: string
  Package?: string
  Test?: string
  Output?: string
}

function counts(passed?: string, failed?: string, skipped?: string): Counts {
  return { passed: Number(passed), failed: Number(failed), skipped: Number(skipped) }
}

function goEvents(log: string): GoEvent[] {
  return log.split('\n').flatMap(line => toGoEvent(line) ?? [])
}

function toGoEvent(line: string): GoEvent | undefined {
  return line.startsWith('{"') ? (JSON.parse(line) as GoEvent) : undefined
}

function isSubtest(candidate: GoEvent, parent: GoEvent): boolean {
  return candidate.Package === parent.Package && candidate.Test?.startsWith(`${parent.Test}/`) === true
}
