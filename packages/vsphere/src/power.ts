import { decodePowerState } from './inventory/vm.decoder.ts'
import { propertyOf, readObject } from './soap/property-collector.ts'
import { invalidAnswer } from './soap/soap-message.ts'
import type { VimClient } from './soap/vim-client.ts'
import type { MoRef } from './soap/xml-element.ts'
import { runTask } from './tasks.ts'
import type { PowerState, TaskOptions } from './types.ts'

/** The present power state of a VM. */
export async function powerState(vim: VimClient, vm: MoRef, signal?: AbortSignal): Promise<PowerState> {
  const path = 'runtime.powerState'
  const state = propertyOf(await readObject(vim, vm, [path], signal), path)
  if (state === undefined) throw invalidAnswer('RetrievePropertiesEx', `lacks the power state of ${vm.value}`)
  return decodePowerState(state.text)
}

/** Switches a VM on or off and waits until it is. */
export async function switchPower(
  vim: VimClient,
  vm: MoRef,
  method: 'PowerOnVM_Task' | 'PowerOffVM_Task',
  options?: TaskOptions,
): Promise<void> {
  await runTask(vim, { target: vm, method }, options)
}
