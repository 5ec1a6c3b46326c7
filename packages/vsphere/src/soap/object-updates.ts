import { propertySpec, quietly } from './property-collector.ts'
import { invalidAnswer } from './soap-message.ts'
import { SessionRenewed, type VimClient } from './vim-client.ts'
import type { MoRef, XmlElement } from './xml-element.ts'

/** Objects of one type, and which of their properties to watch. */
export interface WatchQuery {
  readonly type: string
  readonly refs: readonly MoRef[]
  readonly paths: readonly string[]
  readonly signal?: AbortSignal | undefined
}

/** What changed of one object. A change without a value: the property is unset now. */
export interface RawUpdate {
  readonly ref: MoRef
  readonly kind: 'enter' | 'modify' | 'leave'
  readonly changes: ReadonlyMap<string, XmlElement | undefined>
}

/** How long the server holds one poll when nothing happens; well below what proxies on the way tolerate. */
const MAX_WAIT_SECONDS = 30

/**
 * Watches properties by long polls. The first batch holds the present values. The property collector is one of
 * our own, because closing it also ends a poll that still waits, and lives as long as the loop. When the session
 * is lost the watch begins anew, so values may come twice, but no last value is missed.
 */
export async function* watchObjects(
  vim: VimClient,
  query: WatchQuery,
): AsyncGenerator<RawUpdate[], void, undefined> {
  for (;;) {
    try {
      yield* watchInSession(vim, query)
    } catch (error) {
      if (!(error instanceof SessionRenewed)) throw error
    }
  }
}

async function* watchInSession(vim: VimClient, query: WatchQuery): AsyncGenerator<RawUpdate[]> {
  const { signal } = query
  const create = { target: vim.service('propertyCollector'), method: 'CreatePropertyCollector' }
  const collector = (await vim.call(create, { signal })).ref('returnval')
  if (collector === undefined) throw invalidAnswer(create.method, 'names no collector')
  try {
    await vim.call(createFilter(collector, query), { signal, isSessionBound: true })
    let version = ''
    for (;;) {
      const args = { version, options: { maxWaitSeconds: MAX_WAIT_SECONDS } }
      const response = await vim.call(
        { target: collector, method: 'WaitForUpdatesEx', args },
        { signal, isSessionBound: true, extraTimeoutMs: MAX_WAIT_SECONDS * 1000 },
      )
      const updateSet = response.child('returnval')
      if (updateSet === undefined) continue // Nothing happened within the wait.
      version = updateSet.string('version') ?? ''
      const updates = updateSet.children('filterSet').flatMap(filter => filter.children('objectSet'))
      if (updates.length > 0) yield updates.map(decodeUpdate)
    }
  } finally {
    await quietly(vim, { target: collector, method: 'DestroyPropertyCollector' })
  }
}

function createFilter(collector: MoRef, { type, refs, paths }: WatchQuery) {
  const spec = { propSet: propertySpec(type, paths), objectSet: refs.map(obj => ({ obj, skip: false })) }
  return { target: collector, method: 'CreateFilter', args: { spec, partialUpdates: false } }
}

function decodeUpdate(element: XmlElement): RawUpdate {
  const ref = element.ref('obj')
  const kind = element.string('kind')
  if (ref === undefined || (kind !== 'enter' && kind !== 'modify' && kind !== 'leave')) {
    throw invalidAnswer('WaitForUpdatesEx', 'holds an update without object or kind')
  }
  const changes = new Map<string, XmlElement | undefined>()
  for (const change of element.children('changeSet')) {
    changes.set(change.string('name') ?? '', change.child('val'))
  }
  return { ref, kind, changes }
}
