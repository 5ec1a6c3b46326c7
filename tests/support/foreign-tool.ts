import { VimClient } from '../../packages/vsphere/src/soap/vim-client.ts'
import { runTask } from '../../packages/vsphere/src/tasks.ts'
import type { Lab } from './lab.ts'

/** Switches changed block tracking of a VM off, as another tool might. */
export async function disableChangeTracking(lab: Lab, vm: string): Promise<void> {
  await run(lab, vm, 'ReconfigVM_Task', { spec: { changeTrackingEnabled: false } })
}

/** Deletes a VM, as another administrator might. */
export async function destroyVm(lab: Lab, vm: string): Promise<void> {
  await lab.control.powerOff(vm)
  await run(lab, vm, 'Destroy_Task', {})
}

async function run(lab: Lab, vm: string, method: string, args: object): Promise<void> {
  const { sdk: url, user, password, thumbprintSha1: thumbprint } = lab
  const vim = await VimClient.connect({ url, user, password, thumbprint })
  try {
    await runTask(vim, { target: { type: 'VirtualMachine', value: vm }, method, args: { ...args } })
  } finally {
    await vim.close()
  }
}
