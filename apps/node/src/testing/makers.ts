import { type CaptureOrder, CaptureOrder as CaptureOrderSchema } from '@sendense/contracts'
import { newId } from '@sendense/platform'
import type { VsphereDisk, VsphereVm } from '@sendense/vsphere'

const MIB = 1024 * 1024

/** A disk on a pvscsi controller, 64 MiB, tracked in snapshots. */
export function aDisk(over: Partial<VsphereDisk> = {}): VsphereDisk {
  const key = over.key ?? 2000
  return {
    key,
    label: `Hard disk ${key - 1999}`,
    backing: `[ds] vm/vm_${key}.vmdk`,
    datastore: 'ds',
    capacityBytes: 64 * MIB,
    diskMode: 'persistent',
    isIndependent: false,
    isThin: true,
    uuid: `6000c29-${key}`,
    changeId: '52 de ad/1',
    backingKind: 'flat',
    rdmMode: undefined,
    controllerKey: 1000,
    controllerType: 'pvscsi',
    controllerBus: 0,
    unitNumber: key - 2000,
    ...over,
  }
}

/** A running Linux VM with one disk, tracking on. */
export function aVm(over: Partial<VsphereVm> = {}): VsphereVm {
  return {
    moRef: 'vm-1',
    instanceUuid: '5020aaaa-0000-0000-0000-000000000001',
    biosUuid: '4220aaaa-0000-0000-0000-000000000001',
    name: 'web',
    folderPath: '/Production',
    datacenter: 'DC0',
    host: 'esx1',
    cluster: undefined,
    powerState: 'on',
    connectionState: 'connected',
    guestOs: 'debian12_64Guest',
    guestFullName: 'Debian GNU/Linux 12 (64-bit)',
    firmware: 'efi',
    isSecureBoot: false,
    memoryMb: 1024,
    cpuCount: 2,
    hardwareVersion: 'vmx-21',
    isTemplate: false,
    toolsStatus: 'running',
    changeTrackingEnabled: true,
    changeTrackingSupported: true,
    hasSnapshots: false,
    disks: [aDisk()],
    nics: [],
    controllers: [],
    ...over,
  }
}

/** An order to capture `aVm()`. */
export function anOrder(over: Partial<CaptureOrder> = {}): CaptureOrder {
  return CaptureOrderSchema.parse({
    jobId: newId(),
    vcenter: { host: 'vc.test', port: 443, thumbprint: 'ab'.repeat(32), sealedCredentials: 'sealed' },
    vcenterInstanceUuid: 'vcenter-1',
    vm: { instanceUuid: aVm().instanceUuid, moRef: 'vm-1', name: 'web' },
    quiesce: false,
    limits: {},
    ...over,
  })
}
