import type { KeepReason, RetentionRules } from '@sendense/contracts'

/** A restore point as far as retention is concerned. */
export interface DatedPoint {
  readonly id: string
  readonly at: Date
  /** It is known that not all of it can be read. */
  readonly isDamaged: boolean
}

export interface RetentionVerdict {
  readonly id: string
  readonly isKept: boolean
  /** The rules that keep it; empty for one that goes. */
  readonly reasons: KeepReason[]
}

/**
 * Decides which restore points of one VM stay. Damaged ones use up no count of any rule, so that no whole one goes for
 * the sake of a damaged one. They stay as long as an older whole one does, since a repair or a backup may heal them,
 * and within the days of the rule that does not count. Where none is whole, the rules decide as if all were. Newest
 * first in the answer.
 */
export function decideRetention(
  points: readonly DatedPoint[],
  rules: RetentionRules,
  clock: { timeZone: string; now: Date },
): RetentionVerdict[] {
  const whole = points.filter(({ isDamaged }) => !isDamaged)
  if (whole.length === 0) return decideByRules(points, rules, clock)
  const verdicts = new Map(decideByRules(whole, rules, clock).map(verdict => [verdict.id, verdict]))
  const newestFirst = [...points].sort(byTimeDescending)
  const oldestKept = newestFirst.findLast(({ id }) => verdicts.get(id)?.isKept)
  const since = withinSince(
    newestFirst.filter(({ isDamaged }) => !isDamaged),
    rules,
    clock.now,
  )
  const ofDamaged = ({ id, at }: DatedPoint): RetentionVerdict => {
    const reasons: KeepReason[] = []
    if (oldestKept && at > oldestKept.at) reasons.push('damaged')
    if (since !== undefined && at > since) reasons.push('within')
    return { id, isKept: reasons.length > 0, reasons }
  }
  return newestFirst.map(point => verdicts.get(point.id) ?? ofDamaged(point))
}

/**
 * Decides as `restic forget` does: the newest one of each of the last so many
 * hours, days and so on that have any; the oldest one too while a rule has counts left, so that the history grows to
 * its full length; and all that are close enough to the newest. One that any rule keeps is kept.
 *
 * `now` only keeps a restore point from the future from being taken for the newest. Newest first in the answer.
 */
function decideByRules(
  points: readonly DatedPoint[],
  rules: RetentionRules,
  { timeZone, now }: { timeZone: string; now: Date },
): RetentionVerdict[] {
  const newestFirst = [...points].sort(byTimeDescending)
  const calendar = calendarOf(timeZone)
  const buckets = bucketsOf(rules, calendar)
  const since = withinSince(newestFirst, rules, now)
  return newestFirst.map((point, position) => {
    const isOldest = position === newestFirst.length - 1
    const reasons: KeepReason[] = buckets
      .filter(bucket => isTaken(bucket, bucket.periodOf(point.at, position), isOldest))
      .map(({ reason }) => reason)
    if (since !== undefined && point.at > since) reasons.push('within')
    return { id: point.id, isKept: reasons.length > 0, reasons }
  })
}

interface Bucket {
  readonly reason: KeepReason
  /** Restore points of the same period count once. */
  readonly periodOf: (at: Date, position: number) => string
  left: number
  last: string | undefined
}

function bucketsOf(rules: RetentionRules, calendar: Calendar): Bucket[] {
  const all: [KeepReason, number | undefined, Bucket['periodOf']][] = [
    ['last', rules.keepLast, (_at, position) => String(position)],
    ['hourly', rules.keepHourly, at => calendar(at).hour],
    ['daily', rules.keepDaily, at => calendar(at).day],
    ['weekly', rules.keepWeekly, at => calendar(at).week],
    ['monthly', rules.keepMonthly, at => calendar(at).month],
    ['yearly', rules.keepYearly, at => calendar(at).year],
  ]
  return all.flatMap(([reason, left, periodOf]) =>
    left === undefined ? [] : [{ reason, left, periodOf, last: undefined }],
  )
}

function isTaken(bucket: Bucket, period: string, isOldest: boolean): boolean {
  if (bucket.left === 0 || (period === bucket.last && !isOldest)) return false
  bucket.last = period
  bucket.left--
  return true
}

function withinSince(
  newestFirst: readonly DatedPoint[],
  { keepWithinDays }: RetentionRules,
  now: Date,
): Date | undefined {
  if (keepWithinDays === undefined) return undefined
  const newest = newestFirst.find(point => point.at <= now)
  // Only restore points from the future: all of them are later than any time.
  if (!newest) return new Date(0)
  // However little was asked for, the newest is within it: of a very small number nothing would be left beside the time.
  return new Date(newest.at.getTime() - Math.max(1, keepWithinDays * DAY_MS))
}

const DAY_MS = 24 * 60 * 60 * 1000

/** Names of the periods that a moment lies in. */
type Calendar = (at: Date) => { hour: string; day: string; week: string; month: string; year: string }

function calendarOf(timeZone: string): Calendar {
  const format = new Intl.DateTimeFormat('en-GB', {
    timeZone,
    calendar: 'gregory',
    numberingSystem: 'latn',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    hourCycle: 'h23',
  })
  return at => {
    const parts = new Map(format.formatToParts(at).map(({ type, value }) => [type, value]))
    const [year = '', month = '', day = '', hour = ''] = (['year', 'month', 'day', 'hour'] as const).map(
      type => parts.get(type),
    )
    return {
      hour: `${year}-${month}-${day} ${hour}`,
      day: `${year}-${month}-${day}`,
      week: isoWeek(Number(year), Number(month), Number(day)),
      month: `${year}-${month}`,
      year,
    }
  }
}

/** ISO 8601: a week begins on Monday and belongs to the year of its Thursday. */
function isoWeek(year: number, month: number, day: number): string {
  const date = new Date(Date.UTC(year, month - 1, day))
  date.setUTCDate(date.getUTCDate() + 3 - ((date.getUTCDay() + 6) % 7))
  const firstOfYear = Date.UTC(date.getUTCFullYear(), 0, 1)
  const week = 1 + Math.floor((date.getTime() - firstOfYear) / (7 * DAY_MS))
  return `${date.getUTCFullYear()}-W${week}`
}

function byTimeDescending(one: DatedPoint, other: DatedPoint): number {
  return other.at.getTime() - one.at.getTime() || (one.id < other.id ? -1 : 1)
}
