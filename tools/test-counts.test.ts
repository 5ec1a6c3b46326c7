import { describe, expect, it } from 'vitest'
import {
  countCargoTests,
  countCheck,
  countGoTests,
  countVitestTests,
  failedTests,
  readableGoLog,
  strictCounts,
  sum,
} from './test-counts.ts'

describe('cargo test', () => {
  const log = `
running 2 tests
test reply::tests::a_short_reply_is_refused ... ok
test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

     Running tests/judge.rs
test result: ok. 5 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 1.20s
   Doc-tests sendense_nbd
test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
`

  it('adds up all test programs', () => {
    expect(countCargoTests(log)).toEqual({ passed: 6, failed: 1, skipped: 2 })
  })

  it('finds nothing in the log of a build that failed', () => {
    expect(countCargoTests('error[E0308]: mismatched types')).toEqual({ passed: 0, failed: 0, skipped: 0 })
  })
})

describe('go test -json', () => {
  it('counts subtests instead of their parents', () => {
    const log = goLog(
      { Action: 'run', Package: 'lab', Test: 'TestChain' },
      { Action: 'pass', Package: 'lab', Test: 'TestChain/full' },
      { Action: 'fail', Package: 'lab', Test: 'TestChain/changed' },
      { Action: 'fail', Package: 'lab', Test: 'TestChain' },
      { Action: 'pass', Package: 'lab', Test: 'TestChains' },
      { Action: 'skip', Package: 'lab', Test: 'TestFault' },
      { Action: 'fail', Package: 'lab' },
    )

    expect(countGoTests(log)).toEqual({ passed: 2, failed: 1, skipped: 1 })
  })

  it('counts a package that does not compile as one failure', () => {
    const log = goLog(
      { Action: 'build-output', Output: 'x.go:3: undefined: y\n' },
      { Action: 'fail', Package: 'lab' },
    )

    expect(countGoTests(log)).toEqual({ passed: 0, failed: 1, skipped: 0 })
  })

  it('can be read by people again', () => {
    const log = goLog(
      { Action: 'output', Package: 'lab', Test: 'TestChain', Output: '--- FAIL: TestChain\n' },
      { Action: 'fail', Package: 'lab', Test: 'TestChain' },
    )

    expect(readableGoLog(`go: warning\n${log}`)).toBe('go: warning\n--- FAIL: TestChain\n')
  })
})

describe('vitest', () => {
  const report = {
    numPassedTests: 7,
    numFailedTests: 1,
    numPendingTests: 2,
    numTodoTests: 1,
    testResults: [
      { status: 'failed', assertionResults: [{ status: 'passed' }, { status: 'failed' }] },
      { status: 'passed', assertionResults: [{ status: 'passed' }] },
    ],
  }

  it('counts passed, failed and skipped tests', () => {
    expect(countVitestTests(JSON.stringify(report))).toEqual({ passed: 7, failed: 1, skipped: 3 })
  })

  it('counts a file that could not be loaded', () => {
    const broken = { ...report, testResults: [{ status: 'failed', assertionResults: [] }] }

    expect(countVitestTests(JSON.stringify(broken)).failed).toBe(2)
  })
})

describe('a suite', () => {
  it('passes with its tests', () => {
    expect(strictCounts({ passed: 3, failed: 0, skipped: 0 }, 0)).toEqual({
      passed: 3,
      failed: 0,
      skipped: 0,
    })
  })

  it('fails when it ran no test', () => {
    expect(strictCounts({ passed: 0, failed: 0, skipped: 0 }, 0).failed).toBe(1)
  })

  it('fails when it ended badly although no test did', () => {
    expect(strictCounts({ passed: 3, failed: 0, skipped: 0 }, 101).failed).toBe(1)
  })

  it('fails when it skipped a test', () => {
    expect(strictCounts({ passed: 3, failed: 0, skipped: 1 }, 0).failed).toBe(1)
  })

  it('keeps the number of its failed tests', () => {
    expect(strictCounts({ passed: 3, failed: 2, skipped: 1 }, 1).failed).toBe(2)
  })
})

it('a check counts as one test', () => {
  expect(sum([countCheck(0), countCheck(0), countCheck(2)])).toEqual({ passed: 2, failed: 1, skipped: 0 })
})

it.each([
  [
    "cargo's",
    `test all::is_well ... ok
test all::is_lost ... FAILED
test all::is_found ... ok

failures:

---- all::is_lost stdout ----

thread 'all::is_lost' panicked at a.rs:3:5:
assertion \`left == right\` failed
  left: 3
 right: 4
note: run with \`RUST_BACKTRACE=1\` environment variable to display a backtrace

failures:
    all::is_lost
`,
    [
      ['test all::is_lost ... FAILED'],
      [
        '---- all::is_lost stdout ----',
        "thread 'all::is_lost' panicked at a.rs:3:5:",
        'assertion `left == right` failed',
        '  left: 3',
        ' right: 4',
      ],
    ],
  ],
  [
    'the panic of a program that names no test in its',
    "thread 'main' panicked at a.rs:3:5:\n3 is not 4\nstack backtrace:\n   0: main\n",
    [["thread 'main' panicked at a.rs:3:5:", '3 is not 4']],
  ],
  [
    "Vitest's",
    `⎯⎯⎯⎯⎯⎯ Failed Suites 1 ⎯⎯⎯⎯⎯⎯⎯

 FAIL  tools/b.test.ts [ tools/b.test.ts ]
Error:
mkdir /opt/real
ended with 1: it exists
 ❯ Scripts.run tests/machine.ts:3:11

⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯[1/2]⎯

⎯⎯⎯⎯⎯⎯⎯ Failed Tests 1 ⎯⎯⎯⎯⎯⎯⎯

 FAIL  tools/a.test.ts > a chain
AssertionError: expected { a: 1 } to match object { a: 2 }

- Expected
+ Received

  {
-   "a": 2,
+   "a": 1,
  }

 ❯ tools/a.test.ts:2:59

⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯[2/2]⎯

 Test Files  2 failed (2)
`,
    [
      [
        ' FAIL  tools/b.test.ts [ tools/b.test.ts ]',
        'Error:',
        'mkdir /opt/real',
        'ended with 1: it exists',
        ' ❯ Scripts.run tests/machine.ts:3:11',
      ],
      [
        ' FAIL  tools/a.test.ts > a chain',
        'AssertionError: expected { a: 1 } to match object { a: 2 }',
        '- Expected',
        '+ Received',
        '  {',
        '-   "a": 2,',
        '+   "a": 1,',
        '  }',
        ' ❯ tools/a.test.ts:2:59',
      ],
    ],
  ],
  [
    "Go's",
    '    --- FAIL: TestChain/full (0.00s)\n=== RUN   TestChains\n',
    [['    --- FAIL: TestChain/full (0.00s)']],
  ],
])('finds what is said of a failed test in %s log, once', (_, log, failures) => {
  expect(failedTests(`${log}${log}`)).toEqual(failures)
})

function goLog(...events: object[]): string {
  return events.map(event => `${JSON.stringify(event)}\n`).join('')
}
