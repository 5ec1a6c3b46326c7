import type { Page, PageQuery } from '@sendense/contracts'
import type { FindOptionsOrder, FindOptionsWhere, ObjectLiteral, Repository } from 'typeorm'
import { LessThan, MoreThan } from 'typeorm'

/** How a list is ordered: by a text column that no two rows share. */
export interface PageOrder<Row> {
  readonly by: keyof Row & string
  readonly direction: 'ascending' | 'descending'
}

/** One page of the rows that match. The cursor is the key of the last row, so rows that come and go do no harm. */
export async function findPage<Row extends ObjectLiteral>(
  rows: Repository<Row>,
  where: FindOptionsWhere<Row>,
  { by, direction }: PageOrder<Row>,
  { limit, cursor }: PageQuery,
): Promise<Page<Row>> {
  const beyond = direction === 'ascending' ? MoreThan : LessThan
  const found = await rows.find({
    where: { ...where, ...(cursor !== undefined && { [by]: beyond(fromCursor(cursor)) }) },
    order: { [by]: direction === 'ascending' ? 'ASC' : 'DESC' } as FindOptionsOrder<Row>,
    take: limit + 1,
  })
  const items = found.slice(0, limit)
  const last = items.at(-1)
  return { items, ...(last && found.length > limit && { nextCursor: toCursor(String(last[by])) }) }
}

function toCursor(key: string): string {
  return Buffer.from(key, 'utf8').toString('base64url')
}

function fromCursor(cursor: string): string {
  return Buffer.from(cursor, 'base64url').toString('utf8')
}
