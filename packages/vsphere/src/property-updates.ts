import { type RawUpdate, watchObjects } from './soap/object-updates.ts'
import type { VimClient } from './soap/vim-client.ts'
import { type XmlElement, XmlError } from './soap/xml-element.ts'
import type { ObjectUpdate, UpdatesQuery } from './types.ts'

/** Watches scalar properties; their types are those that the server gives the values. */
export async function* propertyUpdates(
  vim: VimClient,
  { type, moRefs, paths, signal }: UpdatesQuery,
): AsyncGenerator<ObjectUpdate[], void, undefined> {
  const refs = moRefs.map(value => ({ type, value }))
  for await (const updates of watchObjects(vim, { type, refs, paths, signal })) {
    yield updates.map(decodeUpdate)
  }
}

function decodeUpdate({ ref, kind, changes }: RawUpdate): ObjectUpdate {
  const values: Record<string, Scalar | undefined> = {}
  for (const [path, value] of changes)
    values[path] = value === undefined ? undefined : decodeScalar(path, value)
  return { moRef: ref.value, kind, values }
}

type Scalar = string | number | boolean

const NUMBERS: ReadonlySet<string> = new Set(['int', 'long', 'short', 'byte', 'float', 'double'])

function decodeScalar(path: string, value: XmlElement): Scalar {
  if (value.elements.length > 0) throw new XmlError(`${path} is no scalar property`)
  if (value.xsiType === 'boolean') return value.asBoolean()
  return NUMBERS.has(value.xsiType ?? '') ? value.asNumber() : value.text
}
