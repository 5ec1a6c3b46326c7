import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { Step } from './steps.ts'
import { testAll } from './test-all.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sendense-steps-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const aStep = (name: string, command: string, kind: Step['kind'] = 'check'): Step => ({
  name,
  command,
  kind,
  timeLimitMinutes: 1,
})

async function run(steps: Step[], signal?: AbortSignal) {
  const printed: string[] = []
  const isGood = await testAll({
    steps,
    folder,
    print: text => printed.push(text),
    ...(signal && { signal }),
  })
  return { isGood, text: printed.join('\n'), lastLine: printed.at(-1) }
}

it('the last line sums up checks and tests', async () => {
  const { isGood, lastLine } = await run([
    aStep('lint', 'true'),
    aStep('Rust tests', 'echo "test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured"', 'cargo'),
  ])

  expect(isGood).toBe(true)
  expect(lastLine).toBe('5 passed, 0 failed')
})

it('a failed step shows its log and does not stop the others', async () => {
  const { isGood, text, lastLine } = await run([
    aStep('lint', 'echo "line 7 is too long"; exit 3'),
    aStep('types', 'true'),
  ])

  expect(isGood).toBe(false)
  expect(text).toContain('line 7 is too long')
  expect(lastLine).toBe('1 passed, 1 failed')
})

it('a suite that ran no test has failed', async () => {
  const { lastLine } = await run([aStep('unit tests', 'echo "{}" > /dev/null', 'vitest')])

  expect(lastLine).toBe('0 passed, 1 failed')
})

it('what failed is named again below the table', async () => {
  const log = 'test disk::is_read ... FAILED\\ntest result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured'
  const { text } = await run([aStep('Rust tests', `printf '${log}'`, 'cargo'), aStep('lint', 'true')])

  expect(text.slice(text.indexOf('skipped'))).toContain(
    'FAIL  Rust tests\n      test disk::is_read ... FAILED',
  )
})

it('a step that leaves a process running has failed', async () => {
  const { isGood, text } = await run([aStep('leaky', 'sleep 60 &')])

  expect(isGood).toBe(false)
  expect(text).toContain('left processes running')
})

it('an aborted run ends its step and counts as failed', async () => {
  const { isGood, lastLine } = await run([aStep('slow', 'sleep 60')], AbortSignal.timeout(100))

  expect(isGood).toBe(false)
  expect(lastLine).toBe('0 passed, 1 failed')
})
