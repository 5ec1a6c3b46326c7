import { createHash, randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { waitFor } from '../support/child.ts'
import type { LabVm } from '../support/lab-state.ts'
import type { ReceivedCapture } from './engine-hub.ts'
import { NodeStage } from './node-stage.ts'

const MIB = 1024 * 1024

let stage: NodeStage

beforeAll(async () => {
  stage = await NodeStage.start({ password: 'pa"ss&<wörd> +%/', maxAreas: 7 })
})
afterAll(() => stage[Symbol.asyncDispose]())
afterEach(async () => {
  const { control } = stage.lab
  await control.clearFaults()
  await control.vddkLatency(0)
  await control.vddkLimit(0)
  await control.vddkReadError(undefined)
  await control.missingPrivileges([])
  await control.taskDelay('CreateSnapshot_Task', 0)
})

type Vm = Awaited<ReturnType<NodeStage['vm']>>
let vmCount = 0

/** A VM of its own for a test, with random bytes at several places of each disk. */
async function aVm(diskSizesMib = [16], over: { changeTracking?: boolean } = {}): Promise<Vm> {
  const name = `vm ${vmCount++} [ü]`
  const disks = diskSizesMib.map(size => ({ sizeBytes: size * MIB }))
  await stage.lab.control.createVms([{ name, disks, changeTracking: true, ...over }])
  const vm = await stage.vm(name)
  for (const { key } of vm.disks) {
    for (const at of [0, 3, 7]) await write(vm, key, at * MIB + 4096 * at, 300_000)
  }
  return vm
}

const write = (vm: LabVm, key: number, offset: number, length: number) =>
  stage.lab.control.write({ vm: vm.ref, key }, offset, new Uint8Array(randomBytes(length)))

function keyOf(vm: LabVm, index = 0): number {
  const disk = vm.disks[index]
  if (!disk) throw new Error(`${vm.name} has no disk ${index}`)
  return disk.key
}

/** The restore point holds every disk as it is now: nobody has written since the snapshot. */
async function expectRestorable(capture: ReceivedCapture, vm: LabVm): Promise<void> {
  const keys = (await stage.lab.control.vm(vm.ref)).disks.map(disk => disk.key)
  expect(keys.length).toBeGreaterThan(0)
  for (const key of keys) {
    const hash = createHash('sha256')
    await pipeline(createReadStream(await stage.hub.restore(capture, key)), hash)
    expect(hash.digest('hex')).toBe(await stage.lab.control.hashDisk({ vm: vm.ref, key }))
  }
}

const SLOW = { connections: 1, disksAtOnce: 2, memoryBytesMax: 96 * MIB, compressionLevel: 1 }
const succeeded = { state: 'succeeded', failure: null, leftovers: [] }
const modes = (capture: ReceivedCapture) =>
  [...capture.begun.values()].map(disk => [disk.mode, ...disk.reasons.map(reason => reason.code)])

test('a full backup, then only what has changed; the bytes are right both times', async () => {
  const vm = await aVm([16, 8])
  const full = await stage.hub.capture(stage.lab, vm)
  expect(full.finish).toMatchObject(succeeded)
  expect(modes(full)).toEqual([
    ['full', 'first-backup'],
    ['full', 'first-backup'],
  ])
  await expectRestorable(full, vm)

  await write(vm, keyOf(vm), 5 * MIB + 512, 1024)
  const incremental = await stage.hub.capture(stage.lab, vm, { base: full })
  expect(incremental.finish).toMatchObject(succeeded)
  expect(modes(incremental)).toEqual([['incremental'], ['incremental']])
  expect(incremental.bytes?.map(({ bytes }) => [bytes.changedBytes, bytes.readBytes])).toEqual([
    [64 * 1024, MIB],
    [0, 0],
  ])
  await expectRestorable(incremental, vm)
  expect(full.steps.filter(step => step.endsWith('succeeded'))).toHaveLength(5)
  await stage.expectNothingLeft()
})

test('what is not allocated is not read, and progress is reported', async () => {
  const vm = await aVm([64])
  const { bytes, progress } = await stage.hub.capture(stage.lab, vm)
  const total = bytes?.[0]?.bytes
  expect(total).toMatchObject({ logicalBytes: 64 * MIB })
  expect(total?.readBytes).toBeLessThan(8 * MIB)
  expect(progress.at(-1)).toEqual(total)
})

test('tracking that was off is switched on, and the next backup is incremental', async () => {
  const vm = await aVm([16], { changeTracking: false })
  const first = await stage.hub.capture(stage.lab, vm)
  expect(first.finish).toMatchObject(succeeded)
  expect(first.plan?.reasons.map(reason => reason.code)).toEqual(['change-tracking-enabled-now'])
  await expectRestorable(first, vm)
  await write(vm, keyOf(vm), 9 * MIB, 10)
  const second = await stage.hub.capture(stage.lab, vm, { base: first })
  expect(modes(second)).toEqual([['incremental']])
  await expectRestorable(second, vm)
})

test('a change id that was reset leads to a full with the reason, and the bytes are right', async () => {
  const vm = await aVm()
  const base = await stage.hub.capture(stage.lab, vm)
  await write(vm, keyOf(vm), 2 * MIB, 5000)
  await stage.lab.control.cbtReset(vm.ref)
  const capture = await stage.hub.capture(stage.lab, vm, { base })
  expect(modes(capture)).toEqual([['full', 'change-id-refused']])
  await expectRestorable(capture, vm)
})

test('with a snapshot of somebody else that was there before tracking, everything is read, with reasons', async () => {
  const vm = await aVm([16], { changeTracking: false })
  await stage.lab.control.userSnapshot(vm.ref, 'before the upgrade')
  const capture = await stage.hub.capture(stage.lab, vm)
  expect(capture.finish).toMatchObject(succeeded)
  expect(modes(capture)).toEqual([['full', 'first-backup', 'allocation-unknown']])
  await expectRestorable(capture, vm)
  await stage.expectNothingLeft(['before the upgrade'])
  const [theirs] = (await stage.lab.control.vm(vm.ref)).snapshots
  await stage.lab.control.removeSnapshot(theirs?.ref ?? '')
})

test('a disk that was added and one that has grown are read in full, the others are not', async () => {
  const vm = await aVm([16, 16])
  const base = await stage.hub.capture(stage.lab, vm)
  const added = await stage.lab.control.addDisk(vm.ref, { sizeBytes: 8 * MIB })
  await write(vm, added, MIB, 100_000)
  await stage.lab.control.resize({ vm: vm.ref, key: keyOf(vm, 1) }, 20 * MIB)
  await write(vm, keyOf(vm, 1), 19 * MIB, 100_000)
  const capture = await stage.hub.capture(stage.lab, vm, { base })
  expect(new Map([...capture.begun].map(([key, disk]) => [key, disk.reasons[0]?.code ?? disk.mode]))).toEqual(
    new Map([
      [keyOf(vm, 0), 'incremental'],
      [keyOf(vm, 1), 'disk-resized'],
      [added, 'disk-added'],
    ]),
  )
  await expectRestorable(capture, vm)
})

test('independent disks stay out, and the manifest says why', async () => {
  const vm = await aVm()
  const key = await stage.lab.control.addDisk(vm.ref, { sizeBytes: 4 * MIB, mode: 'independent_persistent' })
  const capture = await stage.hub.capture(stage.lab, vm)
  expect([...capture.begun.keys()]).toEqual([keyOf(vm)])
  expect(capture.plan?.manifest.disks.find(disk => disk.key === key)?.excluded?.code).toBe('disk-independent')
})

test('two VMs at once', async () => {
  const [one, two] = [await aVm([32]), await aVm([32])]
  const captures = await Promise.all([stage.hub.capture(stage.lab, one), stage.hub.capture(stage.lab, two)])
  for (const [index, vm] of [one, two].entries()) {
    const capture = captures[index]
    if (capture) await expectRestorable(capture, vm)
  }
  await stage.expectNothingLeft()
})

test('a cancel in the middle of reading ends as cancelled and leaves nothing', async () => {
  const vm = await slowVm()
  const capture = await stage.hub.order(stage.lab, vm, { limits: SLOW })
  await waitFor('a reader', async () => (await stage.readers())[0])
  await stage.hub.hub.node.cancelCapture({ jobId: capture.order.jobId })
  expect((await stage.hub.ended(capture)).finish).toMatchObject({
    state: 'cancelled',
    failure: null,
    leftovers: [],
  })
  await stage.expectNothingLeft()
  expect(await stage.hub.repository.restorePoints()).not.toContainEqual(expect.objectContaining({ id: '' }))
})

test('a cancel while vSphere makes the snapshot leaves no snapshot', async () => {
  const vm = await aVm()
  await stage.lab.control.taskDelay('CreateSnapshot_Task', 1500)
  const capture = await stage.hub.order(stage.lab, vm)
  await waitFor('the snapshot step', () => capture.steps.includes('snapshot running') || undefined)
  await sleep(500)
  await stage.hub.hub.node.cancelCapture({ jobId: capture.order.jobId })
  expect((await stage.hub.ended(capture)).finish).toMatchObject({ state: 'cancelled' })
  // The simulator calls the task cancelled and makes the snapshot all the same: it is watched for.
  await sleep(1500)
  await waitFor('the sweeper', async () =>
    (await stage.lab.control.vm(vm.ref)).snapshots.length === 0 ? true : undefined,
  )
  await stage.expectNothingLeft()
})

test.for<NodeJS.Signals>(['SIGKILL', 'SIGABRT'])(
  'a reader that dies by %s fails the capture, and nothing is left',
  async signal => {
    const vm = await slowVm()
    const capture = await stage.hub.order(stage.lab, vm, { limits: SLOW })
    const pid = await waitFor('a reader', async () => (await stage.readers())[0])
    await waitFor('progress', () => capture.progress.some(bytes => bytes.readBytes > 0) || undefined)
    process.kill(pid, signal)
    const { finish } = await stage.hub.ended(capture)
    expect(finish).toMatchObject({ state: 'failed', failure: { code: 'nbdkit-crashed' }, leftovers: [] })
    await stage.expectNothingLeft()
  },
)

test('what was stored before a failure is not stored again', async () => {
  const vm = await slowVm()
  const capture = await stage.hub.order(stage.lab, vm, { limits: SLOW })
  const pid = await waitFor('a reader', async () => (await stage.readers())[0])
  await waitFor('stored bytes', () => capture.progress.some(bytes => bytes.newBytes > 4 * MIB) || undefined)
  process.kill(pid, 'SIGKILL')
  await stage.hub.ended(capture)
  await stage.lab.control.vddkLatency(0)
  const again = await stage.hub.capture(stage.lab, vm)
  const [{ bytes } = { bytes: undefined }] = again.bytes ?? []
  expect(bytes?.readBytes).toBeGreaterThan(20 * MIB)
  expect(bytes?.newBytes).toBeLessThan((bytes?.readBytes ?? 0) - 3 * MIB)
  await expectRestorable(again, vm)
})

test('a link to the Hub that breaks in the middle does not end the capture', async () => {
  const vm = await slowVm()
  const capture = await stage.hub.order(stage.lab, vm, { limits: SLOW })
  await waitFor('progress', () => capture.progress.some(bytes => bytes.readBytes > 0) || undefined)
  stage.hub.hub.cutConnections()
  expect((await stage.hub.ended(capture)).finish).toMatchObject(succeeded)
  await expectRestorable(capture, vm)
})

test('a vCenter that forgets its sessions in the middle does not end the capture', async () => {
  const vm = await slowVm()
  const capture = await stage.hub.order(stage.lab, vm, { limits: SLOW })
  await waitFor('progress', () => capture.progress.some(bytes => bytes.readBytes > 0) || undefined)
  await stage.lab.control.expireSessions()
  expect((await stage.hub.ended(capture)).finish).toMatchObject(succeeded)
  await stage.expectNothingLeft()
})

test('a snapshot is removed although the answer to its order was lost', async () => {
  const vm = await aVm()
  const onStep = (step: string) =>
    step === 'snapshot running' ? stage.lab.control.httpFault({ after: true, count: 1 }) : undefined
  const { finish } = await stage.hub.capture(stage.lab, vm, { onStep })
  expect(finish).toMatchObject({ state: 'failed', failure: { code: 'vcenter-unreachable' }, leftovers: [] })
  await stage.expectNothingLeft()
})

test('a commit whose answer was lost is asked for again, and makes one restore point', async () => {
  const vm = await aVm()
  const before = (await stage.hub.repository.restorePoints()).length
  let cuts = 0
  const onStep = (step: string) => {
    // The Node waits for this report; the next message is the commit, and its answer finds no connection.
    if (step === 'commit running' && cuts++ === 0) setTimeout(() => stage.hub.hub.cutConnections(), 5)
  }
  const capture = await stage.hub.capture(stage.lab, vm, { onStep })
  expect(capture.finish).toMatchObject(succeeded)
  expect(cuts).toBe(1)
  expect(await stage.hub.repository.restorePoints()).toHaveLength(before + 1)
})

test('a host that allows few connections is read with fewer', async () => {
  const vm = await aVm([16, 16, 16])
  await stage.lab.control.vddkLimit(1)
  const capture = await stage.hub.capture(stage.lab, vm)
  expect(capture.finish).toMatchObject(succeeded)
  await expectRestorable(capture, vm)
})

test.for<[string, string, (vm: Vm) => Promise<unknown>]>([
  ['a locked disk', 'disk-locked', () => stage.lab.control.vddkFail('Failed to lock the file')],
  [
    'a host without connections',
    'vddk-session-limit',
    () => stage.lab.control.vddkFail('NFC session limit reached'),
  ],
  [
    'a disk that cannot be read',
    'disk-read-failed',
    () => stage.lab.control.vddkReadError(3 * MIB + 4096 * 3),
  ],
  [
    'no right to make snapshots',
    'vcenter-permission-missing',
    () => stage.lab.control.missingPrivileges(['VirtualMachine.State.CreateSnapshot']),
  ],
  [
    'no right to read disks',
    'vcenter-permission-missing',
    () => stage.lab.control.missingPrivileges(['VirtualMachine.Provisioning.DiskRandomRead']),
  ],
  [
    'a snapshot that vSphere cannot make',
    'snapshot-failed',
    () => stage.lab.control.fault({ method: 'CreateSnapshot_Task', fault: 'SnapshotFault', inTask: true }),
  ],
])('%s is %s, and nothing is left', async ([_what, code, arrange]) => {
  const vm = await aVm()
  await arrange(vm)
  const { finish } = await stage.hub.capture(stage.lab, vm)
  expect(finish).toMatchObject({ state: 'failed', failure: { code }, leftovers: [] })
  await stage.lab.control.clearFaults()
  await stage.expectNothingLeft()
})

test('wrong credentials, a wrong certificate and an unknown VM have their own codes', async () => {
  const vm = await aVm()
  const wrongPassword = await stage.hub.capture(stage.lab, vm, { password: 'wrong' })
  expect(wrongPassword.finish.failure?.code).toBe('vcenter-credentials-invalid')
  const vcenter = { ...(await stage.vcenter()), thumbprint: '00'.repeat(32) }
  const wrongCertificate = await stage.hub.capture(stage.lab, vm, { vcenter })
  expect(wrongCertificate.finish.failure?.code).toBe('vcenter-certificate-mismatch')
  const unknown = await stage.hub.capture(stage.lab, { ...vm, instanceUuid: 'no-such-vm' })
  expect(unknown.finish.failure?.code).toBe('vm-not-found')
})

test('a guest that cannot be quiesced is backed up nevertheless, with the reason', async () => {
  const vm = await aVm()
  const fault = { method: 'CreateSnapshot_Task', fault: 'ApplicationQuiesceFault', inTask: true, count: 1 }
  await stage.lab.control.fault(fault)
  const capture = await stage.hub.capture(stage.lab, vm, { quiesce: true })
  expect(capture.finish).toMatchObject(succeeded)
  expect(capture.plan).toMatchObject({ isQuiesced: false, reasons: [{ code: 'quiesce-failed' }] })
})

test('a VM that is busy for a moment is waited for', async () => {
  const vm = await aVm()
  await stage.lab.control.fault({ method: 'CreateSnapshot_Task', fault: 'TaskInProgress', count: 1 })
  expect((await stage.hub.capture(stage.lab, vm)).finish).toMatchObject(succeeded)
})

test('a snapshot that cannot be removed is named, and swept when it can be', async () => {
  const vm = await aVm()
  await stage.lab.control.fault({ method: 'RemoveSnapshot_Task', fault: 'InvalidState', count: 2 })
  const capture = await stage.hub.capture(stage.lab, vm)
  expect(capture.finish).toMatchObject({
    state: 'succeeded',
    leftovers: [expect.stringContaining(`sendense-${capture.order.jobId}`)],
  })
  await waitFor('the sweeper', async () =>
    (await stage.lab.control.vm(vm.ref)).snapshots.length === 0 ? true : undefined,
  )
  await stage.expectNothingLeft()
})

test('no password is on a command line, in an environment, in the log or in the state', async () => {
  const vm = await slowVm()
  const capture = await stage.hub.order(stage.lab, vm, { limits: SLOW })
  await waitFor('progress', () => capture.progress.some(bytes => bytes.readBytes > 0) || undefined)
  const processes = await stage.processes()
  expect(await stage.readers()).not.toEqual([])
  expect(processes.length).toBeGreaterThan(1)
  const state = await contentOf(stage.dir.join('n'))
  expect(state).toContain('sealedCredentials')
  await stage.hub.ended(capture)
  const { password } = stage.lab
  const everything = [
    ...processes.flatMap(({ cmdline, environ }) => [cmdline, environ]),
    ...[state, stage.node.log()],
  ].join('\n')
  for (const spelling of [password, encodeURIComponent(password), JSON.stringify(password).slice(1, -1)]) {
    expect(everything).not.toContain(spelling)
  }
})

/** All files below a directory, one after the other. */
async function contentOf(path: string): Promise<string> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true })
  const files = entries.filter(entry => entry.isFile())
  const texts = files.map(file => readFile(`${file.parentPath}/${file.name}`, 'latin1').catch(() => ''))
  return (await Promise.all(texts)).join('\n')
}

/** A VM whose capture takes some seconds with these limits: four reads at a time, 300 ms each. */
async function slowVm(): Promise<Vm> {
  const vm = await aVm([64])
  await write(vm, keyOf(vm), 10 * MIB, 40 * MIB)
  await stage.lab.control.vddkLatency(300_000)
  return vm
}
