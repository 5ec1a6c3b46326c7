import type { ObjectContent } from '../soap/property-collector.ts'
import { invalidAnswer } from '../soap/soap-message.ts'
import type { MoRef, XmlElement } from '../soap/xml-element.ts'
import type { PowerState, ToolsStatus, VsphereVm } from '../types.ts'
import { decodeControllers, decodeDisks } from './device.decoder.ts'
import { decodeNics, networkRefs } from './nic.decoder.ts'
import { decodeName, type PlaceIndex } from './place-index.ts'

/** Everything that `decodeVm` reads. */
export const VM_PATHS: readonly string[] = [
  'name',
  'parent',
  'parentVApp',
  'config.instanceUuid',
  'config.uuid',
  'config.template',
  'config.guestId',
  'config.guestFullName',
  'config.firmware',
  'config.version',
  'config.changeTrackingEnabled',
  'config.bootOptions',
  'config.hardware.numCPU',
  'config.hardware.memoryMB',
  'config.hardware.device',
  'capability.changeTrackingSupported',
  'runtime.powerState',
  'runtime.connectionState',
  'runtime.host',
  'guest.toolsRunningStatus',
  'guest.toolsVersionStatus2',
  'snapshot.rootSnapshotList',
]

/** True if the server handed out enough of the configuration to know the VM. */
export function isReadable(vm: ObjectContent): boolean {
  return vm.properties.has('config.instanceUuid') && vm.properties.has('config.hardware.device')
}

/** Objects whose names and parents `decodeVm` wants to find in the index. */
export function placeRefsOf(vm: ObjectContent): MoRef[] {
  const around = [parentOf(vm), vm.properties.get('runtime.host')?.asRef()].filter(ref => ref !== undefined)
  return [...around, ...networkRefs(devicesOf(vm))]
}

/** Makes a VM of the properties of `VM_PATHS`. */
export function decodeVm(vm: ObjectContent, places: PlaceIndex): VsphereVm {
  const { properties } = vm
  const devices = devicesOf(vm)
  return {
    moRef: vm.ref.value,
    name: decodeName(need(vm, 'name').text),
    ...places.placeOf(parentOf(vm), properties.get('runtime.host')?.asRef()),
    ...decodeRuntime(vm),
    ...decodeConfig(vm),
    disks: decodeDisks(devices),
    nics: decodeNics(devices, ref => places.nameOf(ref)),
    controllers: decodeControllers(devices),
  }
}

/** Translates `poweredOn` and its like. */
export function decodePowerState(text: string): PowerState {
  const state = POWER_STATE[text]
  if (state === undefined) throw invalidAnswer('RetrievePropertiesEx', `holds the power state "${text}"`)
  return state
}

const POWER_STATE: Readonly<Record<string, PowerState>> = {
  poweredOn: 'on',
  poweredOff: 'off',
  suspended: 'suspended',
}

function decodeRuntime(vm: ObjectContent) {
  const { properties } = vm
  return {
    powerState: decodePowerState(need(vm, 'runtime.powerState').text),
    connectionState: properties.get('runtime.connectionState')?.text ?? 'connected',
    toolsStatus: decodeToolsStatus(properties),
    hasSnapshots: (properties.get('snapshot.rootSnapshotList')?.elements.length ?? 0) > 0,
  }
}

function decodeConfig(vm: ObjectContent) {
  const { properties } = vm
  return {
    instanceUuid: need(vm, 'config.instanceUuid').text,
    biosUuid: need(vm, 'config.uuid').text,
    guestOs: properties.get('config.guestId')?.text,
    guestFullName: properties.get('config.guestFullName')?.text,
    firmware: properties.get('config.firmware')?.text === 'efi' ? ('efi' as const) : ('bios' as const),
    isSecureBoot: properties.get('config.bootOptions')?.boolean('efiSecureBootEnabled') ?? false,
    memoryMb: need(vm, 'config.hardware.memoryMB').asNumber(),
    cpuCount: need(vm, 'config.hardware.numCPU').asNumber(),
    hardwareVersion: need(vm, 'config.version').text,
    isTemplate: need(vm, 'config.template').asBoolean(),
    changeTrackingEnabled: properties.get('config.changeTrackingEnabled')?.asBoolean() ?? false,
    changeTrackingSupported: properties.get('capability.changeTrackingSupported')?.asBoolean() ?? false,
  }
}

function decodeToolsStatus(properties: ObjectContent['properties']): ToolsStatus {
  if (properties.get('guest.toolsVersionStatus2')?.text === 'guestToolsNotInstalled') return 'not-installed'
  const running = properties.get('guest.toolsRunningStatus')?.text
  if (running === undefined) return 'unknown'
  return running === 'guestToolsNotRunning' ? 'not-running' : 'running'
}

function devicesOf(vm: ObjectContent): readonly XmlElement[] {
  return vm.properties.get('config.hardware.device')?.elements ?? []
}

/** A VM in a vApp has no folder of its own. */
function parentOf({ properties }: ObjectContent): MoRef | undefined {
  return (properties.get('parent') ?? properties.get('parentVApp'))?.asRef()
}

function need(vm: ObjectContent, path: string): XmlElement {
  const value = vm.properties.get(path)
  if (value !== undefined) return value
  throw vm.missing.get(path) ?? invalidAnswer('RetrievePropertiesEx', `lacks ${path} of ${vm.ref.value}`)
}
