import { listObjects, type ObjectContent, readObject } from '../soap/property-collector.ts'
import type { VimClient } from '../soap/vim-client.ts'
import type { MoRef } from '../soap/xml-element.ts'
import type { ListVmsOptions, UnreadableVm, VsphereVm } from '../types.ts'
import { VsphereError } from '../vsphere-error.ts'
import { decodeName, PlaceIndex } from './place-index.ts'
import { decodeVm, isReadable, placeRefsOf, VM_PATHS } from './vm.decoder.ts'

/** VMs in one answer: with all their devices some 20 kB each. */
const DEFAULT_PAGE = 50

/** All VMs and templates, in pages; each page costs one call and what is new of its places. */
export async function* listVms(
  vim: VimClient,
  { maxObjects = DEFAULT_PAGE, onUnreadable, signal }: ListVmsOptions = {},
): AsyncGenerator<VsphereVm, void, undefined> {
  const places = new PlaceIndex(vim)
  for await (const page of listObjects(vim, {
    type: 'VirtualMachine',
    paths: VM_PATHS,
    maxObjects,
    signal,
  })) {
    const readable = page.filter(isReadable)
    await places.load(readable.flatMap(placeRefsOf), signal)
    for (const vm of page) if (!isReadable(vm)) onUnreadable?.(toUnreadable(vm))
    yield* readable.map(vm => decodeVm(vm, places))
  }
}

/** One VM with its place. */
export async function getVm(vim: VimClient, ref: MoRef, signal?: AbortSignal): Promise<VsphereVm> {
  const vm = await readObject(vim, ref, VM_PATHS, signal)
  if (!isReadable(vm)) throw unreadable(vm)
  const places = new PlaceIndex(vim)
  await places.load(placeRefsOf(vm), signal)
  return decodeVm(vm, places)
}

/** The VM with this instance UUID, by the server's own index. */
export async function findVm(
  vim: VimClient,
  instanceUuid: string,
  signal?: AbortSignal,
): Promise<VsphereVm | undefined> {
  const args = { uuid: instanceUuid, vmSearch: true, instanceUuid: true }
  const call = { target: vim.service('searchIndex'), method: 'FindByUuid', args }
  const ref = (await vim.call(call, { signal })).ref('returnval')
  return ref === undefined ? undefined : getVm(vim, ref, signal)
}

function toUnreadable(vm: ObjectContent): UnreadableVm {
  const name = vm.properties.get('name')?.text
  return {
    moRef: vm.ref.value,
    name: name === undefined ? undefined : decodeName(name),
    reason: vm.missing.size > 0 ? 'permission' : 'no-configuration',
  }
}

function unreadable(vm: ObjectContent): VsphereError {
  const [reason] = vm.missing.values()
  return (
    reason ??
    new VsphereError({
      fault: 'NoConfiguration',
      kind: 'invalid',
      message: `${vm.ref.value} has no configuration: it is inaccessible or orphaned on its host`,
      object: vm.ref.value,
    })
  )
}
