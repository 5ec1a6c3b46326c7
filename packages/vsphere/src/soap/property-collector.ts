import type { VsphereError } from '../vsphere-error.ts'
import { localizedFaultOf } from './fault.ts'
import { invalidAnswer } from './soap-message.ts'
import { SessionRenewed, type VimClient } from './vim-client.ts'
import type { MoRef, XmlElement } from './xml-element.ts'
import type { XmlFields } from './xml-writer.ts'

/** An object with the properties that were asked for, as far as they are set. */
export interface ObjectContent {
  readonly ref: MoRef
  readonly properties: ReadonlyMap<string, XmlElement>
  /** Properties that the server kept back, and why. */
  readonly missing: ReadonlyMap<string, VsphereError>
}

/** Which objects of the inventory to list, and what of them. */
export interface ListQuery {
  readonly type: string
  readonly paths: readonly string[]
  /** Objects in one answer. */
  readonly maxObjects: number
  readonly signal?: AbortSignal | undefined
}

/** Times in a row that a listing may begin anew without having yielded anything in between. */
const MAX_RESTARTS = 3

/**
 * Lists all objects of a type below the root folder, page by page. View and pages belong to the session: if it
 * ends half-way, the listing begins anew and leaves out what was yielded before.
 */
export async function* listObjects(
  vim: VimClient,
  query: ListQuery,
): AsyncGenerator<ObjectContent[], void, undefined> {
  const seen = new Set<string>()
  for (let restarts = 0; ; restarts++) {
    try {
      for await (const page of listPages(vim, query)) {
        const fresh = page.filter(object => !seen.has(object.ref.value))
        if (fresh.length === 0) continue
        for (const object of fresh) seen.add(object.ref.value)
        restarts = 0
        yield fresh
      }
      return
    } catch (error) {
      if (!(error instanceof SessionRenewed) || restarts === MAX_RESTARTS) throw error
    }
  }
}

/** Reads properties of objects of one type. Fails if one of them does not exist. */
export async function readObjects(
  vim: VimClient,
  refs: readonly MoRef[],
  paths: readonly string[],
  signal?: AbortSignal,
): Promise<ObjectContent[]> {
  const type = refs[0]?.type
  if (type === undefined) return []
  const spec = { propSet: propertySpec(type, paths), objectSet: refs.map(obj => ({ obj, skip: false })) }
  for (let restarts = 0; ; restarts++) {
    try {
      const objects: ObjectContent[] = []
      for await (const page of retrieve(vim, spec, {}, signal)) objects.push(...page)
      return objects
    } catch (error) {
      if (!(error instanceof SessionRenewed) || restarts === MAX_RESTARTS) throw error
    }
  }
}

/** Reads properties of one object. */
export async function readObject(
  vim: VimClient,
  ref: MoRef,
  paths: readonly string[],
  signal?: AbortSignal,
): Promise<ObjectContent> {
  const [object] = await readObjects(vim, [ref], paths, signal)
  if (object === undefined) throw invalidAnswer('RetrievePropertiesEx', `does not hold ${ref.value}`)
  return object
}

/** A property, or undefined if it is unset. Throws the reason if the server keeps it back. */
export function propertyOf(object: ObjectContent, path: string): XmlElement | undefined {
  const missing = object.missing.get(path)
  if (missing !== undefined) throw missing
  return object.properties.get(path)
}

/** The schema wants `type`, `all`, `pathSet` in this order. */
export function propertySpec(type: string, paths: readonly string[]): XmlFields {
  return { type, all: false, pathSet: paths }
}

async function* listPages(vim: VimClient, query: ListQuery): AsyncGenerator<ObjectContent[]> {
  const { type, paths, maxObjects, signal } = query
  const args = { container: vim.service('rootFolder'), type: [type], recursive: true }
  const create = { target: vim.service('viewManager'), method: 'CreateContainerView', args }
  const view = (await vim.call(create, { signal })).ref('returnval')
  if (view === undefined) throw invalidAnswer(create.method, 'names no view')
  try {
    const traversal = { name: 'view', type: 'ContainerView', path: 'view', skip: false }
    const spec = {
      propSet: propertySpec(type, paths),
      objectSet: { obj: view, skip: true, selectSet: { $type: 'TraversalSpec', ...traversal } },
    }
    yield* retrieve(vim, spec, { maxObjects }, signal, true)
  } finally {
    await quietly(vim, { target: view, method: 'DestroyView' })
  }
}

/** RetrievePropertiesEx and whatever continues it. A page may come in parts, but no object does. */
async function* retrieve(
  vim: VimClient,
  specSet: XmlFields,
  options: XmlFields,
  signal: AbortSignal | undefined,
  isSessionBound = false,
): AsyncGenerator<ObjectContent[]> {
  const target = vim.service('propertyCollector')
  const first = { target, method: 'RetrievePropertiesEx', args: { specSet, options } }
  let result = (await vim.call(first, { signal, isSessionBound })).child('returnval')
  let token = result?.string('token')
  try {
    while (result !== undefined) {
      token = result.string('token')
      yield result.children('objects').map(decodeObject)
      if (token === undefined) return
      const next = { target, method: 'ContinueRetrievePropertiesEx', args: { token } }
      token = undefined
      result = (await vim.call(next, { signal, isSessionBound: true })).child('returnval')
    }
  } finally {
    if (token !== undefined) {
      await quietly(vim, { target, method: 'CancelRetrievePropertiesEx', args: { token } })
    }
  }
}

/** Clean-up of things that the server drops with the session anyway: tried, and no more. */
export async function quietly(vim: VimClient, call: Parameters<VimClient['call']>[0]): Promise<void> {
  try {
    await vim.call(call, { isSessionBound: true })
  } catch {
    // Either it is gone already or the connection is; the caller's own error says what matters.
  }
}

function decodeObject(element: XmlElement): ObjectContent {
  const ref = element.ref('obj')
  if (ref === undefined) throw invalidAnswer('RetrievePropertiesEx', 'holds an object without a name')
  const properties = new Map<string, XmlElement>()
  for (const property of element.children('propSet')) {
    // On continued pages an unset property may come as a name without a value.
    const value = property.child('val')
    if (value !== undefined) properties.set(property.string('name') ?? '', value)
  }
  const missing = new Map<string, VsphereError>()
  for (const property of element.children('missingSet')) {
    const fault = property.child('fault')
    if (fault === undefined) continue
    missing.set(property.string('path') ?? '', localizedFaultOf('RetrievePropertiesEx', fault))
  }
  return { ref, properties, missing }
}
