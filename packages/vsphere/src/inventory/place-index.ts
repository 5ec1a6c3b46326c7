import { type ObjectContent, readObjects } from '../soap/property-collector.ts'
import type { VimClient } from '../soap/vim-client.ts'
import type { MoRef } from '../soap/xml-element.ts'
import { VsphereError } from '../vsphere-error.ts'

/** Where a VM stands in the tree of folders and in the tree of hosts. */
export interface VmPlace {
  readonly folderPath: string
  readonly datacenter: string | undefined
  readonly host: string | undefined
  readonly cluster: string | undefined
}

/**
 * Names and parents of inventory objects. Reads them level by level for many VMs at once and keeps them, so
 * that a whole inventory costs some calls per level of the tree and none per VM. What the user cannot see stays
 * without a name.
 */
export class PlaceIndex {
  readonly #vim: VimClient
  readonly #places = new Map<string, Place>()

  constructor(vim: VimClient) {
    this.#vim = vim
  }

  /** Reads the given objects and everything above them that is not known yet. */
  async load(refs: Iterable<MoRef>, signal?: AbortSignal): Promise<void> {
    let unknown = this.#unknownOf(refs)
    while (unknown.length > 0) {
      const read = await this.#read(unknown, signal)
      for (const ref of unknown) this.#places.set(ref.value, read.get(ref.value) ?? NOWHERE)
      unknown = this.#unknownOf([...read.values()].flatMap(place => place.parent ?? []))
    }
  }

  nameOf(ref: MoRef | undefined): string | undefined {
    return ref === undefined ? undefined : this.#places.get(ref.value)?.name
  }

  /** Place of a VM by its parent (folder or vApp) and its host; both have to be loaded. */
  placeOf(parent: MoRef | undefined, host: MoRef | undefined): VmPlace {
    const above = this.#ancestorsOf(parent)
    const root = above.findIndex(({ ref }) => ref.type === 'Datacenter')
    // The outermost folder of a datacenter is called "vm" and never shown.
    const folders = (root === -1 ? above : above.slice(0, Math.max(0, root - 1))).filter(isFolder)
    const names = folders.flatMap(({ place }) => place.name ?? []).reverse()
    const cluster = this.#ancestorsOf(host).find(({ ref }) => ref.type === 'ClusterComputeResource')
    return {
      folderPath: `/${names.join('/')}`,
      datacenter: above[root]?.place.name,
      host: this.nameOf(host),
      cluster: cluster?.place.name,
    }
  }

  /** The object itself and what is above it, innermost first. */
  #ancestorsOf(start: MoRef | undefined): { ref: MoRef; place: Place }[] {
    const chain: { ref: MoRef; place: Place }[] = []
    let ref = start
    while (ref !== undefined && chain.length < MAX_DEPTH) {
      const place: Place = this.#places.get(ref.value) ?? NOWHERE
      chain.push({ ref, place })
      ref = place.parent
    }
    return chain
  }

  #unknownOf(refs: Iterable<MoRef>): MoRef[] {
    const unknown = new Map<string, MoRef>()
    for (const ref of refs) if (!this.#places.has(ref.value)) unknown.set(ref.value, ref)
    return [...unknown.values()]
  }

  async #read(refs: readonly MoRef[], signal?: AbortSignal): Promise<Map<string, Place>> {
    const read = new Map<string, Place>()
    for (const [type, ofType] of Map.groupBy(refs, ref => ref.type)) {
      for (const object of await this.#readExisting(type, ofType, signal)) {
        read.set(object.ref.value, toPlace(object))
      }
    }
    return read
  }

  /** One object that was deleted meanwhile fails the whole call, so it is left out and the rest asked again. */
  async #readExisting(type: string, refs: readonly MoRef[], signal?: AbortSignal): Promise<ObjectContent[]> {
    let left = refs
    for (;;) {
      try {
        return await readObjects(this.#vim, left, PATHS_OF_TYPE.get(type) ?? ['name', 'parent'], signal)
      } catch (error) {
        const gone = error instanceof VsphereError && error.kind === 'not-found' ? error.object : undefined
        const rest = left.filter(ref => ref.value !== gone)
        if (rest.length === left.length) throw error
        left = rest
      }
    }
  }
}

interface Place {
  readonly name: string | undefined
  readonly parent: MoRef | undefined
}

const NOWHERE: Place = { name: undefined, parent: undefined }
/** Guards against a tree that bites its tail. */
const MAX_DEPTH = 64

/** A vApp hangs in a resource pool by `parent`, and in a folder or another vApp by these two. */
const PATHS_OF_TYPE: ReadonlyMap<string, readonly string[]> = new Map([
  ['VirtualApp', ['name', 'parentFolder', 'parentVApp']],
  ['DistributedVirtualPortgroup', ['name']],
  ['OpaqueNetwork', ['name']],
  ['Network', ['name']],
])

function toPlace({ properties }: ObjectContent): Place {
  const name = properties.get('name')?.text
  const parent = properties.get('parent') ?? properties.get('parentFolder') ?? properties.get('parentVApp')
  return { name: name === undefined ? undefined : decodeName(name), parent: parent?.asRef() }
}

function isFolder({ ref }: { ref: MoRef }): boolean {
  return ref.type === 'Folder' || ref.type === 'VirtualApp'
}

/** vSphere writes the three characters that mean something in its paths as %2f, %5c and %25. */
export function decodeName(name: string): string {
  return name.replace(/%(2f|5c|25)/gi, escaped => String.fromCharCode(Number.parseInt(escaped.slice(1), 16)))
}
