import { JobId, type Progress } from '@sendense/contracts'
import { expect, test } from 'vitest'
import { lineView, progressLine } from './job-progress.ts'

const MIB = 1024 * 1024

test('bytes are told apart, with rate and remaining time when they are known', () => {
  expect(progressLine(aProgress())).toBe(
    'logical 4.0 MiB · changed 3.0 MiB · read 2.0 MiB · new 1.0 MiB · stored 512 KiB · 10.0 MiB/s · ETA 1m 05s',
  )
  expect(progressLine({ ...aProgress(), bytesPerSecond: null, remainingSeconds: null })).toMatch(
    /stored 512 KiB$/,
  )
})

test('a pipe gets a line for each step and one every five seconds', () => {
  const lines: string[] = []
  let now = 0
  const view = lineView(
    line => void lines.push(line),
    () => now,
  )
  for (const [time, title] of [
    [0, 'Read'],
    [1000, 'Read'],
    [2000, 'Commit'],
    [6000, 'Commit'],
    [7001, 'Commit'],
  ] as const) {
    now = time
    view.update(aProgress(title))
  }
  expect(lines.map(line => line.split(':')[0])).toEqual(['Read', 'Commit', 'Commit'])
})

function aProgress(title = 'Read'): Progress {
  return {
    jobId: JobId.parse('01a208d0-a995-70ef-b6f2-2d443e20b223'),
    kind: 'backup',
    subject: 'db1',
    subjectId: '01a208d0-a995-70ef-b6f2-2d443e20b224',
    state: 'running',
    steps: [{ name: 'read', title, state: 'running', startedAt: null, finishedAt: null }],
    percent: 50,
    bytes: {
      logicalBytes: 4 * MIB,
      changedBytes: 3 * MIB,
      readBytes: 2 * MIB,
      newBytes: MIB,
      storedBytes: MIB / 2,
    },
    disks: [],
    bytesPerSecond: 10 * MIB,
    remainingSeconds: 65,
    createdAt: '2026-01-01T00:00:00.000Z',
    startedAt: null,
    finishedAt: null,
    failure: null,
    result: null,
  }
}
