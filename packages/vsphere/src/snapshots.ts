import { decodeDisks } from './inventory/device.decoder.ts'
import { propertyOf, readObject } from './soap/property-collector.ts'
import { invalidAnswer } from './soap/soap-message.ts'
import type { VimClient } from './soap/vim-client.ts'
import type { MoRef, XmlElement } from './soap/xml-element.ts'
import { runTask } from './tasks.ts'
import type {
  CallOptions,
  RemoveSnapshotOptions,
  SnapshotSpec,
  TaskOptions,
  VsphereDisk,
  VsphereSnapshot,
} from './types.ts'
import { VsphereError } from './vsphere-error.ts'

/** Creates a snapshot without memory and returns its MoRef. */
export async function createSnapshot(
  vim: VimClient,
  vm: MoRef,
  { name, description = '', quiesce }: SnapshotSpec,
  options?: TaskOptions,
): Promise<string> {
  const args = { name, description, memory: false, quiesce }
  const snapshot = await runTask(vim, { target: vm, method: 'CreateSnapshot_Task', args }, options)
  if (snapshot === undefined) throw invalidAnswer('CreateSnapshot_Task', 'names no snapshot')
  return snapshot.value
}

/** Removes a snapshot; false if someone else has done so before. */
export async function removeSnapshot(
  vim: VimClient,
  snapshot: MoRef,
  { consolidate = true, ...options }: RemoveSnapshotOptions = {},
): Promise<boolean> {
  const args = { removeChildren: false, consolidate }
  try {
    await runTask(vim, { target: snapshot, method: 'RemoveSnapshot_Task', args }, options)
    return true
  } catch (error) {
    if (isGone(error, snapshot)) return false
    throw error
  }
}

/** The tree of snapshots as a list, parents before children. */
export async function listSnapshots(
  vim: VimClient,
  vm: MoRef,
  { signal }: CallOptions = {},
): Promise<VsphereSnapshot[]> {
  const info = propertyOf(await readObject(vim, vm, ['snapshot'], signal), 'snapshot')
  const current = info?.ref('currentSnapshot')?.value
  const snapshots: VsphereSnapshot[] = []
  let level = (info?.children('rootSnapshotList') ?? []).map(tree => ({ tree, parent: undefined as Parent }))
  while (level.length > 0) {
    snapshots.push(...level.map(({ tree, parent }) => decodeSnapshot(tree, parent, current)))
    level = level.flatMap(({ tree }) => {
      const parent = tree.ref('snapshot')?.value
      return tree.children('childSnapshotList').map(child => ({ tree: child, parent }))
    })
  }
  return snapshots
}

/** The disks in the configuration that the snapshot has frozen. */
export async function snapshotDisks(
  vim: VimClient,
  snapshot: MoRef,
  { signal }: CallOptions = {},
): Promise<VsphereDisk[]> {
  const path = 'config.hardware.device'
  const devices = propertyOf(await readObject(vim, snapshot, [path], signal), path)
  if (devices === undefined)
    throw invalidAnswer('RetrievePropertiesEx', `lacks the devices of ${snapshot.value}`)
  return decodeDisks(devices.elements)
}

type Parent = string | undefined

function decodeSnapshot(tree: XmlElement, parent: Parent, current: string | undefined): VsphereSnapshot {
  const moRef = tree.need('snapshot').asRef().value
  return {
    moRef,
    name: tree.string('name') ?? '',
    description: tree.string('description') ?? '',
    createdAt: new Date(tree.need('createTime').text),
    isQuiesced: tree.boolean('quiesced') ?? false,
    isCurrent: moRef === current,
    parent,
  }
}

/** The fault has to name the snapshot itself: a missing host or datastore must not pass for success. */
function isGone(error: unknown, snapshot: MoRef): boolean {
  return (
    error instanceof VsphereError &&
    error.fault === 'ManagedObjectNotFound' &&
    (error.object === undefined || error.object === snapshot.value)
  )
}
