import { z } from 'zod'
import { Instant } from './page.ts'

const keep = (what: string) =>
  z
    .int()
    .min(1)
    .max(10_000)
    .optional()
    .meta({ description: `Keep the newest restore point of ${what}` })

/**
 * Which restore points of a VM stay, as restic's `forget` understands it. One that any rule keeps is kept. Damaged ones
 * use up no count: they stay as long as an older whole one does.
 */
export const RetentionRules = z
  .object({
    keepLast: z.int().min(1).max(10_000).optional().meta({ description: 'Keep so many of the newest' }),
    keepHourly: keep('so many hours'),
    keepDaily: keep('so many days'),
    keepWeekly: keep('so many weeks'),
    keepMonthly: keep('so many months'),
    keepYearly: keep('so many years'),
    keepWithinDays: z
      .number()
      .positive()
      .max(36_500)
      .optional()
      .meta({ description: 'Keep all that are at most so many days older than the newest' }),
  })
  .refine(rules => Object.values(rules).some(value => value !== undefined), {
    error: 'needs one rule at least; without any nothing would be kept',
  })
  .meta({ id: 'RetentionRules' })
export type RetentionRules = z.output<typeof RetentionRules>

export const KeepReason = z
  .enum(['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly', 'within', 'damaged', 'protected'])
  .meta({
    id: 'KeepReason',
    description:
      'The rule that keeps a restore point; `damaged`: not all of it can be read, so it uses up no count, and an older whole one is kept; `protected`: the storage does not let it go yet',
  })
export type KeepReason = z.output<typeof KeepReason>

export const TimeZone = z
  .string()
  .max(100)
  .refine(
    name => {
      try {
        return Boolean(new Intl.DateTimeFormat('en', { timeZone: name }))
      } catch {
        return false
      }
    },
    { error: 'is no time zone' },
  )
  .default('UTC')
  .meta({ description: 'Time zone that hours, days, weeks, months and years are counted in' })

/** When the protection of a restore point ends. */
export const ProtectedUntil = Instant.nullable().meta({
  description: 'Until when the storage lets nobody remove it; null when it is not protected',
})
