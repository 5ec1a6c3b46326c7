import type { MoRef, XmlElement } from '../soap/xml-element.ts'
import type { VsphereNic } from '../types.ts'

/** Finds the name of a network by its reference. */
export type NetworkName = (ref: MoRef) => string | undefined

/** The network cards among the devices of a configuration. */
export function decodeNics(devices: readonly XmlElement[], nameOf: NetworkName): VsphereNic[] {
  return devices.filter(isNic).map(device => ({
    key: device.need('key').asNumber(),
    label: device.string('deviceInfo.label') ?? '',
    type: (device.xsiType ?? '').replace(/^Virtual/, '').toLowerCase(),
    macAddress: device.string('macAddress'),
    network: networkOf(device, nameOf),
    isConnected: device.boolean('connectable.connected') ?? false,
  }))
}

/** Networks whose names have to be looked up, because the card names only a port group by its key. */
export function networkRefs(devices: readonly XmlElement[]): MoRef[] {
  return devices.filter(isNic).flatMap(device => portgroupOf(device) ?? [])
}

/** Only network cards have a MAC address, whatever their model. */
function isNic(device: XmlElement): boolean {
  return device.child('addressType') !== undefined || device.child('macAddress') !== undefined
}

function networkOf(device: XmlElement, nameOf: NetworkName): string | undefined {
  const portgroup = portgroupOf(device)
  if (portgroup !== undefined) return nameOf(portgroup)
  return device.string('backing.deviceName') ?? device.string('backing.opaqueNetworkId')
}

/** The key of a distributed port group is the id of the managed object. */
function portgroupOf(device: XmlElement): MoRef | undefined {
  const value = device.string('backing.port.portgroupKey')
  return value === undefined ? undefined : { type: 'DistributedVirtualPortgroup', value }
}
