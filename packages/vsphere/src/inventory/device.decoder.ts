import type { XmlElement } from '../soap/xml-element.ts'
import type { ControllerType, VsphereController, VsphereDisk } from '../types.ts'

/** The disks among the devices of a configuration, in the order of their controllers and units. */
export function decodeDisks(devices: readonly XmlElement[]): VsphereDisk[] {
  const controllers = new Map(decodeControllers(devices).map(controller => [controller.key, controller]))
  return devices
    .filter(device => device.xsiType === 'VirtualDisk')
    .map(device => decodeDisk(device, controllers))
    .sort((a, b) => placeOf(a) - placeOf(b) || a.key - b.key)
}

/** The controllers that disks may hang on; keyboards and PCI bridges are left out. */
export function decodeControllers(devices: readonly XmlElement[]): VsphereController[] {
  const used = new Set(
    devices.filter(device => device.xsiType === 'VirtualDisk').map(disk => disk.number('controllerKey')),
  )
  return devices.flatMap(device => {
    const bus = device.number('busNumber')
    if (bus === undefined) return []
    const key = device.need('key').asNumber()
    const type = CONTROLLER_TYPE.get(device.xsiType ?? '') ?? 'other'
    if (type === 'other' && !used.has(key)) return []
    const label = device.string('deviceInfo.label') ?? ''
    const sharing = device.string('sharedBus') ?? 'noSharing'
    return [{ key, type, bus, label, isShared: sharing !== 'noSharing' }]
  })
}

const CONTROLLER_TYPE: ReadonlyMap<string, ControllerType> = new Map([
  ['VirtualLsiLogicController', 'lsilogic'],
  ['VirtualLsiLogicSASController', 'lsilogic-sas'],
  ['VirtualBusLogicController', 'buslogic'],
  ['ParaVirtualSCSIController', 'pvscsi'],
  ['VirtualIDEController', 'ide'],
  ['VirtualAHCIController', 'sata'],
  ['VirtualSATAController', 'sata'],
  ['VirtualNVMEController', 'nvme'],
])

const BACKING_KIND: ReadonlyMap<string, VsphereDisk['backingKind']> = new Map([
  ['VirtualDiskFlatVer1BackingInfo', 'flat'],
  ['VirtualDiskFlatVer2BackingInfo', 'flat'],
  ['VirtualDiskSeSparseBackingInfo', 'sesparse'],
  ['VirtualDiskRawDiskMappingVer1BackingInfo', 'rdm'],
])

function decodeDisk(device: XmlElement, controllers: ReadonlyMap<number, VsphereController>): VsphereDisk {
  const backing = device.child('backing')
  const file = backing?.string('fileName') ?? ''
  const diskMode = backing?.string('diskMode') ?? 'persistent'
  const controllerKey = device.number('controllerKey')
  const controller = controllerKey === undefined ? undefined : controllers.get(controllerKey)
  return {
    key: device.need('key').asNumber(),
    label: device.string('deviceInfo.label') ?? '',
    backing: file,
    datastore: /^\[(.*?)\](?: |$)/.exec(file)?.[1] ?? '',
    capacityBytes: device.number('capacityInBytes') ?? device.need('capacityInKB').asNumber() * 1024,
    diskMode,
    isIndependent: diskMode.startsWith('independent'),
    isThin: backing?.boolean('thinProvisioned'),
    uuid: textOrNone(backing?.string('uuid')),
    changeId: textOrNone(backing?.string('changeId')),
    backingKind: BACKING_KIND.get(backing?.xsiType ?? '') ?? 'other',
    rdmMode: rdmModeOf(backing),
    controllerKey,
    controllerType: controller?.type ?? 'other',
    controllerBus: controller?.bus,
    unitNumber: device.number('unitNumber'),
  }
}

function rdmModeOf(backing: XmlElement | undefined): VsphereDisk['rdmMode'] {
  const mode = backing?.string('compatibilityMode')
  if (mode === undefined) return undefined
  return mode === 'physicalMode' ? 'physical' : 'virtual'
}

function textOrNone(text: string | undefined): string | undefined {
  return text === '' ? undefined : text
}

/** No controller has more than 256 units. */
function placeOf(disk: VsphereDisk): number {
  return (disk.controllerKey ?? 0) * 256 + (disk.unitNumber ?? 0)
}
