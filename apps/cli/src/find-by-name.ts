import { CliError } from './cli-error.ts'

interface Named {
  id: string
  name: string
}

/**
 * People type names, the API wants ids: takes either. A name that fits several things is refused with their ids.
 */
export function findByName<T extends Named>(kind: string, wanted: string, all: readonly T[]): T {
  const byId = all.find(one => one.id === wanted)
  if (byId) return byId
  const matches = all.filter(one => one.name === wanted)
  const [match, ...others] = matches
  if (!match) throw new CliError('usage', `There is no ${kind} "${wanted}".`)
  if (others.length > 0) {
    const ids = matches.map(one => one.id).join(', ')
    throw new CliError(
      'usage',
      `There are ${matches.length} ${kind}s "${wanted}"; name one by its id: ${ids}`,
    )
  }
  return match
}

/** All pages of a list, one after the other. */
export async function everyPage<T>(
  list: (page: {
    limit: number
    cursor?: string
  }) => Promise<{ items: T[]; nextCursor?: string | undefined }>,
): Promise<T[]> {
  const items: T[] = []
  let cursor: string | undefined
  do {
    const page = await list({ limit: 500, ...(cursor !== undefined && { cursor }) })
    items.push(...page.items)
    cursor = page.nextCursor
  } while (cursor !== undefined)
  return items
}
