import { enableChangeTracking } from './change-tracking.ts'
import { queryChangedAreas } from './changed-areas.ts'
import { findVm, getVm, listVms } from './inventory/vms.ts'
import { powerState, switchPower } from './power.ts'
import { propertyUpdates } from './property-updates.ts'
import { createSnapshot, listSnapshots, removeSnapshot, snapshotDisks } from './snapshots.ts'
import type { VimClient } from './soap/vim-client.ts'
import type { MoRef } from './soap/xml-element.ts'
import { findRunningTasks, waitForTask } from './tasks.ts'
import type {
  CallOptions,
  ChangedAreasQuery,
  ListVmsOptions,
  RemoveSnapshotOptions,
  SnapshotSpec,
  TaskOperation,
  TaskOptions,
  UpdatesQuery,
  VsphereAbout,
  VsphereSession,
} from './types.ts'

/** The session's methods, each one a function of this package applied to one client. */
export class VsphereSoapSession implements VsphereSession {
  readonly #vim: VimClient

  constructor(vim: VimClient) {
    this.#vim = vim
  }

  get about(): VsphereAbout {
    return this.#vim.about
  }

  listVms(options?: ListVmsOptions) {
    return listVms(this.#vim, options)
  }

  getVm(moRef: string, { signal }: CallOptions = {}) {
    return getVm(this.#vim, vmRef(moRef), signal)
  }

  findVm({ instanceUuid }: { readonly instanceUuid: string }, { signal }: CallOptions = {}) {
    return findVm(this.#vim, instanceUuid, signal)
  }

  powerState(vm: string, { signal }: CallOptions = {}) {
    return powerState(this.#vim, vmRef(vm), signal)
  }

  powerOn(vm: string, options?: TaskOptions) {
    return switchPower(this.#vim, vmRef(vm), 'PowerOnVM_Task', options)
  }

  powerOff(vm: string, options?: TaskOptions) {
    return switchPower(this.#vim, vmRef(vm), 'PowerOffVM_Task', options)
  }

  async shutdownGuest(vm: string, { signal }: CallOptions = {}) {
    await this.#vim.call({ target: vmRef(vm), method: 'ShutdownGuest' }, { signal })
  }

  enableChangeTracking(vm: string, options?: TaskOptions) {
    return enableChangeTracking(this.#vim, vmRef(vm), options)
  }

  createSnapshot(vm: string, spec: SnapshotSpec, options?: TaskOptions) {
    return createSnapshot(this.#vim, vmRef(vm), spec, options)
  }

  removeSnapshot(snapshot: string, options?: RemoveSnapshotOptions) {
    return removeSnapshot(this.#vim, snapshotRef(snapshot), options)
  }

  listSnapshots(vm: string, options?: CallOptions) {
    return listSnapshots(this.#vim, vmRef(vm), options)
  }

  snapshotDisks(snapshot: string, options?: CallOptions) {
    return snapshotDisks(this.#vim, snapshotRef(snapshot), options)
  }

  queryChangedAreas(query: ChangedAreasQuery) {
    return queryChangedAreas(this.#vim, query)
  }

  async waitForTask(task: string, options?: TaskOptions) {
    return (await waitForTask(this.#vim, { type: 'Task', value: task }, options))?.value
  }

  findRunningTasks(vm: string, operation?: TaskOperation, { signal }: CallOptions = {}) {
    return findRunningTasks(this.#vim, vmRef(vm), operation, signal)
  }

  waitForUpdates(query: UpdatesQuery) {
    return propertyUpdates(this.#vim, query)
  }

  async [Symbol.asyncDispose]() {
    await this.#vim.close()
  }
}

function vmRef(value: string): MoRef {
  return { type: 'VirtualMachine', value }
}

function snapshotRef(value: string): MoRef {
  return { type: 'VirtualMachineSnapshot', value }
}
