import type { RetentionRules } from '@sendense/contracts'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type DatedPoint, decideRetention } from './retention.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const UTC = { timeZone: 'UTC', now: new Date('2030-01-01T00:00:00Z') }

const at = (...times: string[]): DatedPoint[] =>
  times.map(time => ({ id: time, at: new Date(time), isDamaged: false }))

/** Newest first, what is kept and by which rules. */
function kept(points: readonly DatedPoint[], rules: RetentionRules, options = UTC) {
  return decideRetention(points, rules, options)
    .filter(verdict => verdict.isKept)
    .map(({ id, reasons }) => [id, reasons.join('+')])
}

test('the newest ones are kept by count', () => {
  const points = at('2026-01-01T00:00Z', '2026-01-03T00:00Z', '2026-01-02T00:00Z')
  expect(kept(points, { keepLast: 2 })).toEqual([
    ['2026-01-03T00:00Z', 'last'],
    ['2026-01-02T00:00Z', 'last'],
  ])
})

test('of each day the newest one is kept, and days without any do not count', () => {
  const points = at('2026-01-01T08:00Z', '2026-01-01T20:00Z', '2026-01-07T01:00Z', '2026-01-09T01:00Z')
  expect(kept(points, { keepDaily: 3 })).toEqual([
    ['2026-01-09T01:00Z', 'daily'],
    ['2026-01-07T01:00Z', 'daily'],
    ['2026-01-01T20:00Z', 'daily'],
  ])
})

test('the oldest one stays while a rule has counts left, so that the history grows to its full length', () => {
  const points = at('2026-01-01T08:00Z', '2026-01-01T20:00Z')
  expect(kept(points, { keepDaily: 2 })).toHaveLength(2)
  expect(kept(points, { keepDaily: 1 })).toEqual([['2026-01-01T20:00Z', 'daily']])
})

test('weeks are those of ISO 8601, across the turn of the year', () => {
  // Monday 2025-12-29 to Sunday 2026-01-04 is one week.
  const points = at('2025-12-28T12:00Z', '2025-12-29T12:00Z', '2026-01-04T12:00Z', '2026-01-05T12:00Z')
  expect(kept(points, { keepWeekly: 2 })).toEqual([
    ['2026-01-05T12:00Z', 'weekly'],
    ['2026-01-04T12:00Z', 'weekly'],
  ])
})

test('grandfather, father and son overlap, and each says that it keeps', () => {
  const points = at('2025-06-30T12:00Z', '2026-01-31T12:00Z', '2026-02-27T12:00Z', '2026-02-28T12:00Z')
  expect(kept(points, { keepDaily: 2, keepMonthly: 2, keepYearly: 2 })).toEqual([
    ['2026-02-28T12:00Z', 'daily+monthly+yearly'],
    ['2026-02-27T12:00Z', 'daily'],
    ['2026-01-31T12:00Z', 'monthly'],
    ['2025-06-30T12:00Z', 'yearly'],
  ])
})

test('a day begins at midnight of the time zone that was asked for', () => {
  const points = at('2026-03-01T22:30Z', '2026-03-01T23:30Z', '2026-03-02T10:00Z')
  expect(kept(points, { keepDaily: 1, keepHourly: 1 })).toHaveLength(1)
  const inBerlin = kept(points, { keepDaily: 2 }, { ...UTC, timeZone: 'Europe/Berlin' })
  // 23:30 UTC is 00:30 on the second of March there: the same day as the third point.
  expect(inBerlin.map(([id]) => id)).toEqual(['2026-03-02T10:00Z', '2026-03-01T22:30Z'])
})

test('the hour that a clock shows twice is one hour', () => {
  const points = at('2026-10-24T12:00Z', '2026-10-25T00:10Z', '2026-10-25T01:20Z')
  expect(kept(points, { keepHourly: 1 }, { ...UTC, timeZone: 'Europe/Berlin' })).toHaveLength(1)
})

test('"within" counts from the newest one and not from now', () => {
  const points = at('2020-01-01T00:00Z', '2020-01-09T00:00Z', '2020-01-10T00:00Z')
  expect(kept(points, { keepWithinDays: 2 }).map(([id]) => id)).toEqual([
    '2020-01-10T00:00Z',
    '2020-01-09T00:00Z',
  ])
})

test('one from the future is not taken for the newest', () => {
  const points = at('2026-01-01T00:00Z', '2026-01-02T00:00Z', '2090-01-01T00:00Z')
  expect(kept(points, { keepWithinDays: 3 })).toHaveLength(3)
  expect(kept(at('2090-01-01T00:00Z'), { keepWithinDays: 1 })).toHaveLength(1)
})

test('a damaged one uses up no count, and stays as long as an older whole one does', () => {
  const points = at('2026-01-01T00:00Z', '2026-01-02T00:00Z', '2026-01-03T00:00Z', '2026-01-04T00:00Z')
  const damaged = (...days: number[]) =>
    points.map((point, index) => ({ ...point, isDamaged: days.includes(index + 1) }))
  expect(kept(damaged(4), { keepLast: 1 })).toEqual([
    ['2026-01-04T00:00Z', 'damaged'],
    ['2026-01-03T00:00Z', 'last'],
  ])
  expect(kept(damaged(1, 3), { keepLast: 2 })).toEqual([
    ['2026-01-04T00:00Z', 'last'],
    ['2026-01-03T00:00Z', 'damaged'],
    ['2026-01-02T00:00Z', 'last'],
  ])
  expect(kept(damaged(2, 3, 4), { keepLast: 1, keepDaily: 1 })).toHaveLength(4)
  expect(kept(damaged(1, 2, 3, 4), { keepLast: 1 })).toEqual([['2026-01-04T00:00Z', 'last']])
})

test('the newest one stays, however short the time is for which all are kept', () => {
  const points = at('2026-01-01T00:00Z', '2026-01-02T00:00Z')
  expect(kept(points, { keepWithinDays: Number.MIN_VALUE })).toEqual([['2026-01-02T00:00Z', 'within']])
})

test('the days of the rule that does not count hold for damaged ones too, from the newest whole one', () => {
  const [old, damaged, whole, newest] = at(
    ...['2026-01-01T00:00Z', '2026-01-08T00:00Z', '2026-01-10T00:00Z', '2026-01-20T00:00Z'],
  )
  const points = [old, { ...damaged, isDamaged: true }, whole, { ...newest, isDamaged: true }] as DatedPoint[]
  expect(kept(points, { keepWithinDays: 3 })).toEqual([
    ['2026-01-20T00:00Z', 'damaged+within'],
    ['2026-01-10T00:00Z', 'within'],
    ['2026-01-08T00:00Z', 'within'],
  ])
})

describe('whatever the rules and the times are', () => {
  const times = fc.array(fc.integer({ min: 0, max: 3 * 365 * 24 }), { maxLength: 60 })
  const count = fc.option(fc.integer({ min: 1, max: 20 }), { nil: undefined })
  const someRules = fc
    .record({
      keepLast: count,
      keepHourly: count,
      keepDaily: count,
      keepWeekly: count,
      keepMonthly: count,
      keepYearly: count,
      keepWithinDays: count,
    })
    .filter(rules => Object.values(rules).some(value => value !== undefined))
  const zones = fc.constantFrom('UTC', 'Europe/Berlin', 'America/St_Johns', 'Pacific/Kiritimati')
  const pointsOf = (hours: readonly number[]): DatedPoint[] =>
    hours.map((hour, index) => ({
      ...{ id: String(index), at: new Date(1.7e12 + hour * HOUR_MS) },
      isDamaged: hour % 3 === 0 && hour % 7 < 3,
    }))

  test('every point gets one verdict, and the newest one and the newest whole one stay', () => {
    fc.assert(
      fc.property(times, someRules, zones, (hours, rules, timeZone) => {
        const points = pointsOf(hours)
        const verdicts = decideRetention(points, rules, { ...UTC, timeZone })
        expect(verdicts.map(({ id }) => id).sort()).toEqual(points.map(({ id }) => id).sort())
        if (points.length > 0) expect(verdicts[0]?.isKept).toBe(true)
        const isWhole = (id: string) => !points.find(point => point.id === id)?.isDamaged
        expect(verdicts.find(({ id }) => isWhole(id))?.isKept).not.toBe(false)
        for (const { isKept, reasons } of verdicts) expect(isKept).toBe(reasons.length > 0)
      }),
    )
  })

  test('a rule keeps no more than its count', () => {
    fc.assert(
      fc.property(times, someRules, zones, (hours, rules, timeZone) => {
        const verdicts = decideRetention(pointsOf(hours), rules, { ...UTC, timeZone })
        for (const [rule, reason] of [
          ['keepLast', 'last'],
          ['keepDaily', 'daily'],
          ['keepYearly', 'yearly'],
        ] as const) {
          const keptByRule = verdicts.filter(({ reasons }) => reasons.includes(reason)).length
          expect(keptByRule).toBeLessThanOrEqual(rules[rule] ?? 0)
        }
      }),
    )
  })

  test('what is forgotten is not missed: the rest is judged as before', () => {
    fc.assert(
      fc.property(times, someRules, zones, (hours, rules, timeZone) => {
        const points = pointsOf(hours)
        const options = { ...UTC, timeZone }
        const first = decideRetention(points, rules, options).filter(({ isKept }) => isKept)
        const rest = points.filter(({ id }) => first.some(verdict => verdict.id === id))
        expect(decideRetention(rest, rules, options).every(({ isKept }) => isKept)).toBe(true)
      }),
    )
  })

  test('another rule never takes away what the first ones keep', () => {
    fc.assert(
      fc.property(times, someRules, (hours, rules) => {
        const points = pointsOf(hours)
        const before = new Set(kept(points, rules).map(([id]) => id))
        const after = new Set(kept(points, { ...rules, keepWithinDays: 36_500 }).map(([id]) => id))
        expect([...before].every(id => after.has(id))).toBe(true)
        expect(after.size).toBe(points.length)
      }),
    )
  })

  test('points that are days apart are all kept by as many days', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50 }), days => {
        const points = Array.from({ length: days }, (_, day) => ({
          id: String(day),
          at: new Date(1.7e12 + day * DAY_MS),
          isDamaged: false,
        }))
        expect(kept(points, { keepDaily: days })).toHaveLength(days)
      }),
    )
  })
})
