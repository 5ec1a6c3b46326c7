import type { VmManifest } from '@sendense/contracts'
import type { VsphereDisk, VsphereVm } from '@sendense/vsphere'
import { toVmDisk, toVmNic } from '../discovery/discovered-vm.ts'

/**
 * The VM as its snapshot holds it. Disks that the snapshot does not hold are named as well, with the reason; the
 * others are described as the snapshot has them, since the live disk runs on in another file by now.
 */
export function toManifest(
  vm: VsphereVm,
  snapshotDisks: readonly VsphereDisk[],
  vcenterInstanceUuid: string,
): VmManifest {
  const inSnapshot = new Set(snapshotDisks.map(disk => disk.key))
  const leftOut = vm.disks.filter(disk => !inSnapshot.has(disk.key))
  return {
    vcenterInstanceUuid,
    instanceUuid: vm.instanceUuid,
    biosUuid: vm.biosUuid,
    moRef: vm.moRef,
    name: vm.name,
    folderPath: vm.folderPath,
    datacenter: vm.datacenter ?? '',
    guestId: vm.guestOs ?? '',
    guestOs: vm.guestFullName ?? vm.guestOs ?? '',
    firmware: vm.firmware,
    hardwareVersion: vm.hardwareVersion,
    cpuCount: vm.cpuCount,
    memoryMb: vm.memoryMb,
    disks: [...snapshotDisks, ...leftOut].map(toManifestDisk),
    nics: vm.nics.map(toVmNic),
  }
}

function toManifestDisk(disk: VsphereDisk): VmManifest['disks'][number] {
  return {
    ...toVmDisk(disk),
    controllerKey: disk.controllerKey ?? UNKNOWN,
    controllerType: disk.controllerType,
    busNumber: disk.controllerBus ?? UNKNOWN,
    unitNumber: disk.unitNumber ?? UNKNOWN,
  }
}

/** vSphere gives no such number for this disk. */
const UNKNOWN = -1
