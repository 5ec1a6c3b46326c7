import { expect, test } from 'vitest'
import { formatBytes, formatFields, formatSeconds, formatTable } from './format.ts'

test('bytes are shown in binary units with one digit where it matters', () => {
  expect([0, 1023, 1536, 150 * 1024, 3 * 1024 ** 3].map(formatBytes)).toEqual([
    '0 B',
    '1023 B',
    '1.5 KiB',
    '150 KiB',
    '3.0 GiB',
  ])
})

test('durations are shown in the two largest units', () => {
  expect([7.4, 65, 3725].map(formatSeconds)).toEqual(['7 s', '1m 05s', '1h 02m'])
})

test('a table aligns its columns, wide characters included', () => {
  expect(
    formatTable(
      ['name', 'state'],
      [
        ['データ', 'on'],
        ['db1', 'off'],
      ],
    ),
  ).toBe(['NAME    STATE', 'データ  on', 'db1     off'].join('\n'))
})

test('fields align their values', () => {
  expect(
    formatFields([
      ['Id', '1'],
      ['Name', 'x'],
    ]),
  ).toBe('Id:   1\nName: x')
})
