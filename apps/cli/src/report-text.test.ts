import { expect, test } from 'vitest'
import { reportText } from './report-text.ts'

test('a prune says how much went, and what keeps the rest', () => {
  const text = reportText({
    ...{ isDryRun: false, restorePoints: 3, unusedBytes: 2048, unknown: null },
    deleted: { packs: 12, bytes: 3 * 1024 * 1024 },
    blocked: [{ by: 'protection', packs: 2, bytes: 1024, until: '2026-12-24T12:00:00.000Z', pid: null }],
  })
  expect(text).toMatch(/^Is dry run: +no$/m)
  expect(text).toMatch(/^Unused bytes: +2\.0 KiB$/m)
  expect(text).toMatch(/^Deleted: +12 packs, 3\.0 MiB$/m)
  expect(text).toMatch(/^Blocked:\n {2}2 packs, 1\.0 KiB, kept by protection until 2026-12-2/m)
  expect(text).not.toContain('nknown')
})

test('a verification tells what is damaged, and how much more there is', () => {
  const text = reportText({
    packs: 7,
    problems: Array.from({ length: 30 }, (_, number) => `Pack ${number} is missing`),
    damagedRestorePoints: [
      { id: 'ab12', paths: ['/vm/disk-2000.raw', '/vm/vm.json'] },
      { id: 'cd34', paths: [] },
    ],
    counts: { problems: 4711, damagedRestorePoints: 2 },
  })
  expect(text).toContain('  Pack 19 is missing\n  and 4691 more; --json shows them')
  expect(text).not.toContain('Pack 20')
  expect(text).toContain('  ab12: /vm/disk-2000.raw, /vm/vm.json\n  cd34: not even its list of files')
})
