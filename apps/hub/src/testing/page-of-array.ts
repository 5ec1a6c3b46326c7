import type { Page, PageQuery } from '@sendense/contracts'

/** One page of an array, the way the real stores page: by a key that no two items share. */
export function pageOfArray<T>(
  items: readonly T[],
  { limit, cursor }: PageQuery,
  keyOf: (item: T) => string,
  order: 'ascending' | 'descending',
): Page<T> {
  const direction = order === 'ascending' ? 1 : -1
  const compare = (one: string, other: string) => (one === other ? 0 : one < other ? -direction : direction)
  const after = cursor === undefined ? undefined : Buffer.from(cursor, 'base64url').toString('utf8')
  const rest = items
    .filter(item => after === undefined || compare(keyOf(item), after) > 0)
    .sort((one, other) => compare(keyOf(one), keyOf(other)))
  const page = rest.slice(0, limit)
  const last = page.at(-1)
  return {
    items: page,
    ...(last !== undefined &&
      rest.length > limit && { nextCursor: Buffer.from(keyOf(last), 'utf8').toString('base64url') }),
  }
}
