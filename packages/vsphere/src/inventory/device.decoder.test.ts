import { describe, expect, it } from 'vitest'
import { parseXml, type XmlElement } from '../soap/xml-element.ts'
import { decodeControllers, decodeDisks } from './device.decoder.ts'
import { decodeNics, networkRefs } from './nic.decoder.ts'

/** The value of `config.hardware.device` with the prefix that the simulator writes. */
function devices(...inner: string[]): readonly XmlElement[] {
  return parseXml(
    '<val xmlns:_XMLSchema-instance="http://www.w3.org/2001/XMLSchema-instance"' +
      ` _XMLSchema-instance:type="ArrayOfVirtualDevice">${inner.join('')}</val>`,
  ).elements
}

function device(type: string, key: number, inner: string): string {
  return `<VirtualDevice _XMLSchema-instance:type="${type}"><key>${key}</key>${inner}</VirtualDevice>`
}

function controller(type: string, key: number, bus: number, sharing?: string): string {
  const shared = sharing === undefined ? '' : `<sharedBus>${sharing}</sharedBus>`
  const label = `<deviceInfo><label>${type} ${bus}</label></deviceInfo>`
  return device(type, key, `${label}<busNumber>${bus}</busNumber>${shared}`)
}

function disk(key: number, on: number, unit: number, backing = flat(`[ds] vm/${key}.vmdk`)): string {
  const label = `<deviceInfo><label>Hard disk ${key}</label></deviceInfo>`
  const place = `<controllerKey>${on}</controllerKey><unitNumber>${unit}</unitNumber>`
  return device(
    'VirtualDisk',
    key,
    `${label}${backing}${place}<capacityInKB>1</capacityInKB><capacityInBytes>1536</capacityInBytes>`,
  )
}

function flat(file: string, more = '', mode = 'persistent'): string {
  return backing(
    'VirtualDiskFlatVer2BackingInfo',
    `<fileName>${file}</fileName><diskMode>${mode}</diskMode>${more}`,
  )
}

function backing(type: string, inner: string): string {
  return `<backing _XMLSchema-instance:type="${type}">${inner}</backing>`
}

describe('disks', () => {
  it('stand in the order of controllers and units, whatever order the devices came in', () => {
    const units = [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13]
    const inner = [
      disk(3000, 200, 0),
      ...units.toReversed().map(unit => disk(2016 + unit, 1001, unit)),
      disk(2000, 1000, 0),
      controller('VirtualLsiLogicController', 1000, 0),
      controller('ParaVirtualSCSIController', 1001, 1),
      controller('VirtualIDEController', 200, 0),
    ]
    const disks = decodeDisks(devices(...inner))
    expect(disks.map(d => d.key)).toEqual([3000, 2000, ...units.map(unit => 2016 + unit)])
    expect(disks.map(d => d.controllerType)).toEqual(['ide', 'lsilogic', ...units.map(() => 'pvscsi')])
    expect(disks[2]).toMatchObject({ controllerBus: 1, unitNumber: 0, controllerKey: 1001 })
  })

  it('keep their file as it is written, brackets and other scripts included', () => {
    const [found] = decodeDisks(
      devices(
        disk(2000, 1000, 0, flat('[Büro [1]] a %2f b/日本.vmdk', '<thinProvisioned>true</thinProvisioned>')),
      ),
    )
    expect(found).toMatchObject({
      backing: '[Büro [1]] a %2f b/日本.vmdk',
      datastore: 'Büro [1]',
      isThin: true,
      capacityBytes: 1536,
      controllerType: 'other',
      controllerBus: undefined,
      changeId: undefined,
    })
  })

  it('tell the file of the snapshot from that of its parent', () => {
    const parent = `<parent><fileName>[ds] vm/base.vmdk</fileName><changeId>52 aa/1</changeId></parent>`
    const [found] = decodeDisks(
      devices(disk(2000, 1000, 0, flat('[ds] vm/top.vmdk', `${parent}<changeId>52 aa/2</changeId>`))),
    )
    expect(found).toMatchObject({ backing: '[ds] vm/top.vmdk', changeId: '52 aa/2' })
    const [untracked] = decodeDisks(
      devices(disk(2000, 1000, 0, flat('[ds] vm/top.vmdk', `${parent}<changeId/>`))),
    )
    expect(untracked?.changeId).toBeUndefined()
  })

  it.each([
    ['independent_persistent', true],
    ['independent_nonpersistent', true],
    ['persistent', false],
  ])('with mode %s are independent: %s', (mode, isIndependent) => {
    const [found] = decodeDisks(devices(disk(2000, 1000, 0, flat('[ds] a/a.vmdk', '', mode))))
    expect(found).toMatchObject({ diskMode: mode, isIndependent })
  })

  it.each([
    ['VirtualDiskSeSparseBackingInfo', '', 'sesparse', undefined],
    [
      'VirtualDiskRawDiskMappingVer1BackingInfo',
      '<compatibilityMode>physicalMode</compatibilityMode>',
      'rdm',
      'physical',
    ],
    [
      'VirtualDiskRawDiskMappingVer1BackingInfo',
      '<compatibilityMode>virtualMode</compatibilityMode>',
      'rdm',
      'virtual',
    ],
    ['VirtualDiskLocalPMemBackingInfo', '', 'other', undefined],
  ])('on %s %s are %s', (type, inner, backingKind, rdmMode) => {
    const file = '<fileName>[ds] a/a.vmdk</fileName>'
    const [found] = decodeDisks(devices(disk(2000, 1000, 0, backing(type, file + inner))))
    expect(found).toMatchObject({ backingKind, rdmMode })
  })

  it('without a capacity are refused', () => {
    const broken = devices(device('VirtualDisk', 2000, flat('[ds] a/a.vmdk')))
    expect(() => decodeDisks(broken)).toThrow(/has no capacityInKB/)
  })
})

describe('controllers', () => {
  it('are those that disks can hang on', () => {
    const found = decodeControllers(
      devices(
        controller('VirtualPCIController', 100, 0),
        controller('VirtualNVMEController', 31000, 0),
        controller('VirtualLsiLogicSASController', 1000, 0, 'physicalSharing'),
        controller('VirtualFutureController', 40000, 2),
        disk(2000, 40000, 0),
      ),
    )
    expect(found).toEqual([
      { key: 31000, type: 'nvme', bus: 0, label: 'VirtualNVMEController 0', isShared: false },
      { key: 1000, type: 'lsilogic-sas', bus: 0, label: 'VirtualLsiLogicSASController 0', isShared: true },
      { key: 40000, type: 'other', bus: 2, label: 'VirtualFutureController 2', isShared: false },
    ])
  })
})

describe('network cards', () => {
  it('name their port group or their network', () => {
    const port = backing(
      'VirtualEthernetCardDistributedVirtualPortBackingInfo',
      '<port><switchUuid>50 1f</switchUuid><portgroupKey>dvportgroup-12</portgroupKey></port>',
    )
    const plain = backing('VirtualEthernetCardNetworkBackingInfo', '<deviceName>VM Network</deviceName>')
    const mac = '<addressType>assigned</addressType><macAddress>00:50:56:aa:bb:cc</macAddress>'
    const on = '<connectable><connected>true</connected></connectable>'
    const cards = devices(
      device('VirtualVmxnet3', 4000, port + on + mac),
      device('VirtualE1000e', 4001, plain + mac),
      disk(2000, 1000, 0),
    )
    expect(networkRefs(cards)).toEqual([{ type: 'DistributedVirtualPortgroup', value: 'dvportgroup-12' }])
    expect(decodeNics(cards, ref => `name of ${ref.value}`)).toMatchObject([
      { key: 4000, type: 'vmxnet3', network: 'name of dvportgroup-12', isConnected: true },
      {
        key: 4001,
        type: 'e1000e',
        network: 'VM Network',
        isConnected: false,
        macAddress: '00:50:56:aa:bb:cc',
      },
    ])
  })
})
