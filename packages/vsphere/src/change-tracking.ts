import { propertyOf, readObject } from './soap/property-collector.ts'
import type { VimClient } from './soap/vim-client.ts'
import type { MoRef } from './soap/xml-element.ts'
import { runTask } from './tasks.ts'
import type { TaskOptions } from './types.ts'
import { VsphereError } from './vsphere-error.ts'

const ENABLED = 'config.changeTrackingEnabled'
const SUPPORTED = 'capability.changeTrackingSupported'

/** Switches changed block tracking on; false if it was on already. */
export async function enableChangeTracking(
  vim: VimClient,
  vm: MoRef,
  options: TaskOptions = {},
): Promise<boolean> {
  const object = await readObject(vim, vm, [ENABLED, SUPPORTED], options.signal)
  if (propertyOf(object, ENABLED)?.asBoolean()) return false
  if (propertyOf(object, SUPPORTED)?.asBoolean() === false) {
    throw new VsphereError({
      fault: 'NotSupported',
      message: `${vm.value} cannot track changed blocks: its hardware version is too old`,
      object: vm.value,
    })
  }
  const args = { spec: { changeTrackingEnabled: true } }
  await runTask(vim, { target: vm, method: 'ReconfigVM_Task', args }, options)
  return true
}
