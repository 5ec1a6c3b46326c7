import { connectVsphere, type ListVmsOptions, type VsphereSession, type VsphereVm } from '@sendense/vsphere'
import type { Lab } from '../support/lab.ts'

/** Logs in to a lab, with its certificate pinned. */
export function connectLab(lab: Lab): Promise<VsphereSession> {
  const { sdk: url, user, password, thumbprintSha1: thumbprint } = lab
  return connectVsphere({ url, user, password, thumbprint })
}

/** All VMs of a session, by name and folder. */
export async function vmsByPath(
  session: VsphereSession,
  options?: ListVmsOptions,
): Promise<Map<string, VsphereVm>> {
  const vms = new Map<string, VsphereVm>()
  for await (const vm of session.listVms(options)) {
    vms.set(`${vm.folderPath === '/' ? '' : vm.folderPath}/${vm.name}`, vm)
  }
  return vms
}
