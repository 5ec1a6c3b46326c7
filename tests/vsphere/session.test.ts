import { inspect } from 'node:util'
import { connectVsphere, fetchThumbprint, VsphereError } from '@sendense/vsphere'
import { expect, test } from 'vitest'
import { startLab } from '../support/lab.ts'
import { connectLab, vmsByPath } from './connect-lab.ts'

const MIB = 1 << 20
const VMS = ['a', 'b', 'c', 'd'].map(name => ({ name, disks: [{ sizeBytes: 16 * MIB }] }))

test('a wrong password is refused once, and neither it nor the right one is in the error', async () => {
  await using lab = await startLab({ password: 'right-s3cret' })
  const { sdk: url, user, thumbprintSha256: thumbprint } = lab
  const error = await connectVsphere({ url, user, password: 'wrong-s3cret', thumbprint }).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(VsphereError)
  expect(error).toMatchObject({ kind: 'credentials', fault: 'InvalidLogin', isTemporary: false })
  expect(inspect(error, { depth: Number.POSITIVE_INFINITY, showHidden: true })).not.toContain('s3cret')
  expect(await lab.control.sessions()).toEqual([])
})

test('the thumbprint of the lab is the one that it claims, and another one ends the connection', async () => {
  await using lab = await startLab()
  const { sha1, sha256 } = await fetchThumbprint(lab.host, lab.port)
  expect({ sha1, sha256 }).toEqual({ sha1: lab.thumbprintSha1, sha256: lab.thumbprintSha256 })
  const { sdk: url, user, password } = lab
  await expect(
    connectVsphere({
      url,
      user,
      password,
      thumbprint: sha1.replace(/^../, sha1.startsWith('00') ? '01' : '00'),
    }),
  ).rejects.toMatchObject({ kind: 'certificate' })
  await expect(connectVsphere({ url, user, password })).rejects.toMatchObject({ kind: 'certificate' })
  await using session = await connectVsphere({ url, user, password, caPem: lab.certificatePem })
  expect(session.about.apiType).toBe('VirtualCenter')
  expect(await lab.control.sessions()).toHaveLength(1)
})

test('a session is left behind by nobody', async () => {
  await using lab = await startLab()
  {
    await using session = await connectLab(lab)
    expect(session.about.instanceUuid).toMatch(/^[0-9a-f-]{36}$/)
    expect(await lab.control.sessions()).toHaveLength(1)
  }
  expect(await lab.control.sessions()).toEqual([])
})

test('a listing survives the end of its session half-way', async () => {
  await using lab = await startLab({ vms: VMS })
  await using session = await connectLab(lab)
  const names: string[] = []
  for await (const { name } of session.listVms({ maxObjects: 1 })) {
    names.push(name)
    if (names.length === 2) await lab.control.expireSessions()
  }
  expect(names.toSorted()).toEqual(['a', 'b', 'c', 'd'])
  expect(await lab.control.sessions()).toHaveLength(1)
})

test('calls after the idle time work as if nothing had been', async () => {
  await using lab = await startLab({ vms: VMS, sessionTimeoutMs: 1000 })
  await using session = await connectLab(lab)
  const [vm] = (await vmsByPath(session)).values()
  await new Promise(resolve => setTimeout(resolve, 2500))
  expect(await lab.control.sessions()).toEqual([])
  const moRef = vm?.moRef ?? ''
  const states = await Promise.all([1, 2, 3, 4].map(() => session.powerState(moRef)))
  expect(states).toEqual(['on', 'on', 'on', 'on'])
  expect(await lab.control.sessions()).toHaveLength(1)
})

test('a connection that is cut is reported as temporary, and the next call works', async () => {
  await using lab = await startLab({ vms: VMS })
  await using session = await connectLab(lab)
  const [vm] = (await vmsByPath(session)).values()
  const moRef = vm?.moRef ?? ''
  await lab.control.httpFault({ count: 1 })
  await expect(session.powerState(moRef)).rejects.toMatchObject({ kind: 'unreachable', isTemporary: true })
  await lab.control.httpFault({ status: 503, count: 1 })
  await expect(session.powerState(moRef)).rejects.toMatchObject({ fault: 'Http503', isTemporary: true })
  expect(await session.powerState(moRef)).toBe('on')
})

test('power goes off and on, and a change is seen as it happens', async () => {
  await using lab = await startLab({ vms: VMS })
  await using session = await connectLab(lab)
  const [vm] = (await vmsByPath(session)).values()
  const moRef = vm?.moRef ?? ''
  const query = {
    type: 'VirtualMachine',
    moRefs: [moRef],
    paths: ['runtime.powerState', 'config.hardware.numCPU'],
  }
  const seen: unknown[] = []
  for await (const updates of session.waitForUpdates(query)) {
    for (const { moRef, kind, values } of updates) seen.push([moRef, kind, values])
    if (seen.length === 1) await session.powerOff(moRef)
    if (seen.length === 2) await session.powerOn(moRef)
    if (seen.length === 3) break
  }
  expect(seen).toEqual([
    [moRef, 'enter', { 'runtime.powerState': 'poweredOn', 'config.hardware.numCPU': vm?.cpuCount }],
    [moRef, 'modify', { 'runtime.powerState': 'poweredOff' }],
    [moRef, 'modify', { 'runtime.powerState': 'poweredOn' }],
  ])
  await expect(session.powerOn(moRef)).rejects.toMatchObject({ fault: 'InvalidPowerState', kind: 'invalid' })
})
