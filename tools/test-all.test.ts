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

it('below the table a failed test says why, as far as there is room', async () => {
  const lines = Array.from({ length: 100 }, (_, row) => `line ${row + 1}`)
  const log = (tests: number) =>
    Array.from({ length: tests }, (_, test) => [` FAIL  test ${test + 1}`, ...lines].join('\n')).join('\n')
  const repeated = async (text: string) => {
    const printed = await run([aStep('unit tests', `cat <<'LOG'\n${text}\nLOG`, 'vitest')])
    return printed.text.slice(printed.text.indexOf('skipped')).split('\n').slice(3, -1)
  }

  const one = await repeated(log(1))
  expect(one).toHaveLength(41)
  expect(one.slice(0, 3)).toEqual(['FAIL  unit tests', '       FAIL  test 1', '      line 1'])
  expect(one.slice(-2)).toEqual(['      line 99', '      line 100'])
  const many = await repeated(log(30))
  expect(many.length).toBeLessThan(250)
  expect(many.filter(line => line.startsWith('       FAIL  test'))).toHaveLength(20)
  expect(many.at(-1)).toBe('      and 10 more')
  const nameless = await repeated('Segmentation fault')
  expect(nameless).toEqual(['FAIL  unit tests', '      Segmentation fault'])
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
