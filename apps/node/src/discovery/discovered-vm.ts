import { type DiscoveredVm, type Reason, reasonOf, type VmDisk } from '@sendense/contracts'
import type { VsphereDisk, VsphereNic, VsphereVm } from '@sendense/vsphere'

/** A VM in words of the contract. */
export function toDiscoveredVm(vm: VsphereVm): DiscoveredVm {
  return {
    instanceUuid: vm.instanceUuid,
    moRef: vm.moRef,
    name: vm.name,
    folderPath: vm.folderPath,
    datacenter: vm.datacenter ?? '',
    host: vm.host ?? null,
    powerState: vm.powerState,
    guestOs: vm.guestFullName ?? vm.guestOs ?? '',
    firmware: vm.firmware,
    cpuCount: vm.cpuCount,
    memoryMb: vm.memoryMb,
    isTemplate: vm.isTemplate,
    isChangeTracked: vm.changeTrackingEnabled,
    hasSnapshots: vm.hasSnapshots,
    disks: vm.disks.map(toVmDisk),
    nics: vm.nics.map(toVmNic),
  }
}

export function toVmDisk(disk: VsphereDisk): VmDisk {
  return {
    key: disk.key,
    label: disk.label,
    backing: disk.backing,
    uuid: disk.uuid ?? null,
    datastore: disk.datastore,
    capacityBytes: disk.capacityBytes,
    mode: disk.diskMode,
    excluded: exclusionOf(disk),
  }
}

export function toVmNic(nic: VsphereNic): DiscoveredVm['nics'][number] {
  return {
    key: nic.key,
    label: nic.label,
    type: nic.type,
    macAddress: nic.macAddress ?? '',
    network: nic.network ?? '',
  }
}

/** Why vSphere leaves a disk out of snapshots; null when it is in them. */
export function exclusionOf(disk: VsphereDisk): Reason | null {
  if (disk.rdmMode === 'physical') return reasonOf('disk-unsupported', `${disk.label} is a physical mapping`)
  if (disk.isIndependent) return reasonOf('disk-independent', `${disk.label} has the mode ${disk.diskMode}`)
  return null
}
