import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Lab, startLab } from '../support/lab.ts'
import type { LabVmSpec } from '../support/lab-inventory.ts'
import { connectLab, vmsByPath } from './connect-lab.ts'

const MIB = 1 << 20
const SIXTEEN_DISKS = Array.from({ length: 16 }, (_, index) => ({
  sizeBytes: (16 + index) * MIB,
  controller: index < 13 ? 0 : index < 15 ? 1 : 2,
}))

const VMS: readonly LabVmSpec[] = [
  { name: 'twin', folder: 'Produktion/Wéb', disks: [{ sizeBytes: 16 * MIB }] },
  { name: 'twin', folder: 'Test', powerState: 'off', disks: [{ sizeBytes: 32 * MIB }] },
  { name: 'datenbank [prod] ä 日本', folder: 'Produktion', disks: [{ sizeBytes: 16 * MIB }] },
  { name: 'many', controllers: ['pvscsi', 'lsilogic', 'nvme'], disks: SIXTEEN_DISKS, firmware: 'efi' },
  {
    name: 'mixed',
    disks: [
      { sizeBytes: 16 * MIB },
      { sizeBytes: 16 * MIB, mode: 'independent_persistent' },
      { sizeBytes: 16 * MIB, mode: 'independent_nonpersistent' },
    ],
  },
  { name: 'golden', template: true, powerState: 'off', disks: [{ sizeBytes: 16 * MIB }] },
  { name: 'diskless', disks: [] },
]

let lab: Lab
beforeAll(async () => {
  lab = await startLab({ vms: VMS })
})
afterAll(() => lab[Symbol.asyncDispose]())

test('VMs of one name in two folders are two VMs', async () => {
  await using session = await connectLab(lab)
  const vms = await vmsByPath(session)
  const [a, b] = [vms.get('/Produktion/Wéb/twin'), vms.get('/Test/twin')]
  expect(a).toMatchObject({ name: 'twin', datacenter: 'DC0', powerState: 'on' })
  expect(b).toMatchObject({ name: 'twin', datacenter: 'DC0', powerState: 'off' })
  expect(a?.moRef).not.toBe(b?.moRef)
  expect(a?.instanceUuid).not.toBe(b?.instanceUuid)
})

test('all VMs are found whatever the size of a page, and in the same shape', async () => {
  await using session = await connectLab(lab)
  const whole = await vmsByPath(session)
  expect(whole.size).toBe(VMS.length)
  for (const maxObjects of [1, 2, 100]) {
    expect(await vmsByPath(session, { maxObjects })).toEqual(whole)
  }
  for (const vm of whole.values()) expect(await session.getVm(vm.moRef)).toEqual(vm)
})

test('names keep brackets and every script', async () => {
  await using session = await connectLab(lab)
  const vm = (await vmsByPath(session)).get('/Produktion/datenbank [prod] ä 日本')
  const known = await lab.control.vm('datenbank [prod] ä 日本')
  expect(vm).toMatchObject({ moRef: known.ref })
  expect(vm?.disks.map(disk => disk.backing)).toEqual(known.disks.map(disk => disk.file))
})

test('sixteen disks on three controllers come with their own keys, places and sizes', async () => {
  await using session = await connectLab(lab)
  const vm = (await vmsByPath(session)).get('/many')
  const known = (await lab.control.vm('many')).disks
  const sorted = known.toSorted((a, b) => a.controllerKey - b.controllerKey || a.unitNumber - b.unitNumber)
  expect(
    vm?.disks.map(({ key, controllerKey, unitNumber, capacityBytes, backing, label, uuid }) => ({
      ...{ key, controllerKey, unitNumber, capacityBytes, label, uuid },
      file: backing,
    })),
  ).toEqual(
    sorted.map(({ key, controllerKey, unitNumber, capacityBytes, label, uuid, file }) => ({
      ...{ key, controllerKey, unitNumber, capacityBytes, label, uuid, file },
    })),
  )
  expect(known).toHaveLength(16)
  const kinds = vm?.disks.map(disk => disk.controllerType)
  expect([...new Set(kinds)].toSorted()).toEqual(['lsilogic', 'nvme', 'pvscsi'])
  expect(vm?.firmware).toBe('efi')
})

test('independent disks are told apart', async () => {
  await using session = await connectLab(lab)
  const vm = (await vmsByPath(session)).get('/mixed')
  expect(vm?.disks.map(disk => [disk.diskMode, disk.isIndependent])).toEqual([
    ['persistent', false],
    ['independent_persistent', true],
    ['independent_nonpersistent', true],
  ])
})

test('templates and VMs without disks are listed as what they are', async () => {
  await using session = await connectLab(lab)
  const vms = await vmsByPath(session)
  expect(vms.get('/golden')).toMatchObject({ isTemplate: true, powerState: 'off' })
  expect(vms.get('/diskless')).toMatchObject({ isTemplate: false, disks: [] })
})

test('a VM is found by its instance UUID, and one that does not exist is not', async () => {
  await using session = await connectLab(lab)
  const vm = (await vmsByPath(session)).get('/Test/twin')
  expect(await session.findVm({ instanceUuid: vm?.instanceUuid ?? '' })).toEqual(vm)
  expect(await session.findVm({ instanceUuid: '00000000-0000-0000-0000-000000000000' })).toBeUndefined()
  await expect(session.getVm('vm-999999')).rejects.toMatchObject({ kind: 'not-found', object: 'vm-999999' })
})

test('an independent client sees the same inventory', async () => {
  await using session = await connectLab(lab)
  const ours = [...(await vmsByPath(session)).values()].map(
    vm => `/${vm.datacenter}/vm${vm.folderPath}/${vm.name}`,
  )
  const { stdout } = await promisify(execFile)(lab.govc, ['find', '/', '-type', 'm'], { env: govcEnv() })
  const theirs = stdout.trim().split('\n')
  expect(ours.map(path => path.replace('//', '/')).toSorted()).toEqual(theirs.toSorted())
  expect(theirs).toHaveLength(VMS.length)
})

test('concurrent calls do not mix their answers', async () => {
  await using session = await connectLab(lab)
  const vms = [...(await vmsByPath(session)).values()]
  const asked = Array.from({ length: 60 }, (_, index) => vms[index % vms.length])
  const answers = await Promise.all(asked.map(vm => session.getVm(vm?.moRef ?? '')))
  expect(answers).toEqual(asked)
})

test('the hosts, networks and hardware are named', async () => {
  await using session = await connectLab(lab)
  const vm = (await vmsByPath(session)).get('/mixed')
  expect(vm?.host).toMatch(/^DC0_/)
  expect(vm?.hardwareVersion).toMatch(/^vmx-\d+$/)
  expect(vm).toMatchObject({ changeTrackingSupported: true, hasSnapshots: false, firmware: 'bios' })
  expect(vm?.memoryMb).toBeGreaterThan(0)
  expect(vm?.cpuCount).toBeGreaterThan(0)
})

function govcEnv(): NodeJS.ProcessEnv {
  const login = { GOVC_URL: lab.sdk, GOVC_USERNAME: lab.user, GOVC_PASSWORD: lab.password }
  return { ...process.env, ...login, GOVC_INSECURE: 'true', GOVC_PERSIST_SESSION: 'false' }
}
