import { type CaptureOrder, type Reason, reasonOf } from '@sendense/contracts'
import { AppError } from '@sendense/platform'
import { VsphereError, type VsphereSession, type VsphereVm } from '@sendense/vsphere'
import { type BusyPatience, whileBusy } from './while-busy.ts'

/** Whether vSphere keeps book of the changes of a VM, as far as it can be known before the snapshot. */
export type ChangeTracking = 'on' | 'enabled-now' | 'unsupported'

/** A VM that is ready to be captured. */
export interface PreparedVm {
  readonly vm: VsphereVm
  readonly tracking: ChangeTracking
  /** What was not as wished, for the whole capture. */
  readonly reasons: readonly Reason[]
}

/** Finds the VM by its identity and switches changed block tracking on if need be. */
export async function prepareVm(
  session: VsphereSession,
  order: CaptureOrder,
  { patience, signal }: { patience: BusyPatience; signal: AbortSignal },
): Promise<PreparedVm> {
  checkVcenter(session, order)
  const vm = await session.findVm({ instanceUuid: order.vm.instanceUuid }, { signal })
  if (!vm) {
    const detail = `The vCenter has no VM "${order.vm.name}" with the instance UUID ${order.vm.instanceUuid}`
    throw new AppError('vm-not-found', { detail })
  }
  if (vm.connectionState !== 'connected') {
    throw new AppError('vcenter-error', { detail: `The VM "${vm.name}" is ${vm.connectionState} in vSphere` })
  }
  if (vm.changeTrackingEnabled) return { vm, tracking: 'on', reasons: [] }
  if (!vm.changeTrackingSupported) return withoutTracking(vm, `Its virtual hardware is ${vm.hardwareVersion}`)
  return enableTracking(session, vm, { patience, signal })
}

function checkVcenter({ about }: VsphereSession, { vcenter, vcenterInstanceUuid }: CaptureOrder): void {
  if (about.instanceUuid === vcenterInstanceUuid) return
  const detail = `${vcenter.host} is another vCenter now: ${about.instanceUuid} instead of ${vcenterInstanceUuid}`
  throw new AppError('vm-not-found', { detail })
}

async function enableTracking(
  session: VsphereSession,
  vm: VsphereVm,
  { patience, signal }: { patience: BusyPatience; signal: AbortSignal },
): Promise<PreparedVm> {
  try {
    await whileBusy(patience, signal, () => session.enableChangeTracking(vm.moRef, { signal }))
  } catch (error) {
    if (!isRefusedForThisVm(error)) throw error
    return withoutTracking(vm, error.message)
  }
  return { vm, tracking: 'enabled-now', reasons: [reasonOf('change-tracking-enabled-now')] }
}

/** A refusal that lies in the VM, not in rights or connections: it can be backed up nevertheless. */
function isRefusedForThisVm(error: unknown): error is VsphereError {
  return error instanceof VsphereError && (error.kind === 'invalid' || error.kind === 'other')
}

function withoutTracking(vm: VsphereVm, detail: string): PreparedVm {
  return { vm, tracking: 'unsupported', reasons: [reasonOf('change-tracking-unsupported', detail)] }
}
