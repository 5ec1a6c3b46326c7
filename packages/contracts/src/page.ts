import { z } from 'zod'

/** Query fields of every list. */
export const PageQuery = z.object({
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(500)
    .default(100)
    .meta({ description: 'Most items in the answer' }),
  cursor: z.string().max(200).optional().meta({ description: '`nextCursor` of the page before' }),
})
export type PageQuery = z.output<typeof PageQuery>

/** A page of a list, newest or alphabetically first as the route says. */
export const pageOf = <T extends z.ZodType>(id: string, item: T) =>
  z
    .object({
      items: z.array(item).meta({ description: 'The items of this page' }),
      nextCursor: z
        .string()
        .optional()
        .meta({ description: 'Pass as `cursor` for the next page; absent on the last' }),
    })
    .meta({ id })

export interface Page<T> {
  items: T[]
  nextCursor?: string
}

/** An instant, ISO 8601 in UTC with milliseconds. */
export const Instant = z.iso.datetime({ precision: 3 })
/** A number of bytes. */
export const Bytes = z.int().nonnegative()
