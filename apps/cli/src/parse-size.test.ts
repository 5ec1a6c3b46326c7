import { expect, test } from 'vitest'
import { parseLimit, parseSize } from './parse-size.ts'

test.each([
  ['512', 512],
  ['100K', 102_400],
  ['1.5GiB', 1.5 * 1024 ** 3],
  ['2 tib', 2 * 1024 ** 4],
  ['7MB', 7 * 1024 ** 2],
])('%s is a size', (text, bytes) => {
  expect(parseSize(text)).toBe(bytes)
})

test.each(['', 'much', '-1', '1X', '1 GiB/s'])('%j is none', text => {
  expect(() => parseSize(text)).toThrow('such as')
})

test('a limit can be taken away', () => {
  expect(parseLimit('none')).toBeNull()
})
