import type { VsphereSession } from '@sendense/vsphere'
import { expect, test } from 'vitest'
import { waitFor } from '../support/child.ts'
import { type LabOptions, startLab } from '../support/lab.ts'
import { connectLab } from './connect-lab.ts'

const MIB = 1 << 20
const SIZE = 16 * MIB
const SPEC = { name: 'sendense [1] ü', description: 'job 0b84', quiesce: false }

/** A lab with one running VM of two disks, one of them independent, and a session. */
async function labWithVm(options: LabOptions = {}) {
  const disks = [{ sizeBytes: SIZE }, { sizeBytes: SIZE, mode: 'independent_persistent' as const }]
  const lab = await startLab({ vms: [{ name: 'web', disks }], ...options })
  const session = await connectLab(lab)
  const known = await lab.control.vm('web')
  return {
    lab,
    session,
    vm: known.ref,
    disk: { vm: known.ref, key: known.disks[0]?.key ?? 0 },
    async [Symbol.asyncDispose]() {
      await session[Symbol.asyncDispose]()
      await lab[Symbol.asyncDispose]()
    },
  }
}

/** Changed areas of the first disk since a change id, as the client sees them. */
async function changesSince(session: VsphereSession, vm: string, snapshot: string, changeId: string) {
  const [disk] = await session.snapshotDisks(snapshot)
  if (disk === undefined) throw new Error('The snapshot has no disk')
  const areas = await session.queryChangedAreas({
    ...{ vm, snapshot, changeId },
    deviceKey: disk.key,
    capacityBytes: disk.capacityBytes,
  })
  return { areas, changeId: disk.changeId ?? '', backing: disk.backing }
}

test('a snapshot is made, listed with its disks, and removed; removing it again is no error', async () => {
  await using t = await labWithVm()
  const snapshot = await t.session.createSnapshot(t.vm, SPEC)
  expect(await t.session.listSnapshots(t.vm)).toMatchObject([
    { moRef: snapshot, name: SPEC.name, description: SPEC.description, isCurrent: true, parent: undefined },
  ])
  expect(await t.session.getVm(t.vm)).toMatchObject({ hasSnapshots: true })
  const disks = await t.session.snapshotDisks(snapshot)
  const [frozen] = (await t.lab.control.vm('web')).snapshots
  expect(disks[0]).toMatchObject({ backing: frozen?.disks[0]?.file, isIndependent: false })
  expect(await t.session.removeSnapshot(snapshot)).toBe(true)
  expect(await t.session.removeSnapshot(snapshot)).toBe(false)
  expect(await t.session.listSnapshots(t.vm)).toEqual([])
  expect(await t.session.getVm(t.vm)).toMatchObject({ hasSnapshots: false })
})

test('a snapshot between those of a user is removed and leaves theirs alone', async () => {
  await using t = await labWithVm()
  const first = await t.lab.control.userSnapshot(t.vm, 'before the update')
  const ours = await t.session.createSnapshot(t.vm, SPEC)
  const last = await t.lab.control.userSnapshot(t.vm, 'after the update')
  expect(await t.session.listSnapshots(t.vm)).toMatchObject([
    { moRef: first, parent: undefined },
    { moRef: ours, parent: first },
    { moRef: last, parent: ours, isCurrent: true },
  ])
  await t.session.removeSnapshot(ours)
  expect((await t.session.listSnapshots(t.vm)).map(s => s.moRef)).toEqual([first, last])
})

test('change tracking is switched on once and finds what the guest wrote, in several answers', async () => {
  await using t = await labWithVm({ maxAreas: 3 })
  expect(await t.session.getVm(t.vm)).toMatchObject({ changeTrackingEnabled: false })
  expect(await t.session.enableChangeTracking(t.vm)).toBe(true)
  expect(await t.session.enableChangeTracking(t.vm)).toBe(false)
  expect(await t.session.getVm(t.vm)).toMatchObject({ changeTrackingEnabled: true })

  await t.lab.control.write(t.disk, 5 * MIB, 'allocated')
  const first = await t.session.createSnapshot(t.vm, SPEC)
  const full = await changesSince(t.session, t.vm, first, '*')
  expect(full.areas).toEqual([{ offset: 5 * MIB, length: 65536 }])
  expect(full.changeId).toMatch(/\/\d+$/)

  const offsets = [1, 3, 4, 6, 8, 9, 11, 13, 14].map(mib => mib * MIB)
  for (const offset of offsets) await t.lab.control.write(t.disk, offset, `at ${offset}`)
  await t.session.removeSnapshot(first)
  const second = await t.session.createSnapshot(t.vm, SPEC)
  const changes = await changesSince(t.session, t.vm, second, full.changeId)
  expect(changes.areas).toEqual(offsets.map(offset => ({ offset, length: 65536 })))
  expect(changes.changeId).not.toBe(full.changeId)
})

test('without tracking there is no change id, and asking for changes is a FileFault', async () => {
  await using t = await labWithVm()
  const snapshot = await t.session.createSnapshot(t.vm, SPEC)
  expect((await t.session.snapshotDisks(snapshot))[0]?.changeId).toBeUndefined()
  await expect(changesSince(t.session, t.vm, snapshot, '*')).rejects.toMatchObject({
    fault: 'FileFault',
    kind: 'file',
  })
})

test('a change id that is foreign or has expired is a FileFault, a malformed one an InvalidArgument', async () => {
  await using t = await labWithVm()
  await t.session.enableChangeTracking(t.vm)
  const first = await t.session.createSnapshot(t.vm, SPEC)
  const { changeId } = await changesSince(t.session, t.vm, first, '*')
  await t.session.removeSnapshot(first)
  await t.lab.control.cbtReset(t.vm)
  const second = await t.session.createSnapshot(t.vm, SPEC)
  const foreign = '52 11 22 33 44 55 66 77-88 99 aa bb cc dd ee ff/1'
  for (const refused of [changeId, foreign]) {
    await expect(changesSince(t.session, t.vm, second, refused)).rejects.toMatchObject({ fault: 'FileFault' })
  }
  await expect(changesSince(t.session, t.vm, second, 'nonsense')).rejects.toMatchObject({
    fault: 'InvalidArgument',
    kind: 'invalid',
    invalidProperty: 'changeId',
  })
})

test('a missing privilege is named, for calls and for what they would have done', async () => {
  await using t = await labWithVm()
  const ids = ['VirtualMachine.State.CreateSnapshot', 'VirtualMachine.Config.ChangeTracking']
  await t.lab.control.missingPrivileges(ids)
  await expect(t.session.createSnapshot(t.vm, SPEC)).rejects.toMatchObject({
    kind: 'permission',
    fault: 'NoPermission',
    privilegeId: ids[0],
    isTemporary: false,
  })
  await expect(t.session.enableChangeTracking(t.vm)).rejects.toMatchObject({ privilegeId: ids[1] })
  expect(await t.session.listSnapshots(t.vm)).toEqual([])
})

test('a VM that is busy is a temporary failure, of the call or of the task', async () => {
  await using t = await labWithVm()
  for (const inTask of [false, true]) {
    await t.lab.control.fault({ method: 'CreateSnapshot_Task', fault: 'TaskInProgress', inTask, count: 1 })
    await expect(t.session.createSnapshot(t.vm, SPEC)).rejects.toMatchObject({
      fault: 'TaskInProgress',
      kind: 'busy',
      isTemporary: true,
    })
  }
  expect(await t.session.createSnapshot(t.vm, SPEC)).toMatch(/^snapshot-/)
})

test('a running task is found, can be waited for, and its cancelled starter lets go at once', async () => {
  await using t = await labWithVm({ snapshotDelayMs: 1500 })
  const controller = new AbortController()
  const creation = t.session.createSnapshot(t.vm, SPEC, { signal: controller.signal })
  const [task] = await waitFor('the task to run', async () => {
    const tasks = await t.session.findRunningTasks(t.vm, 'CreateSnapshot')
    return tasks.length > 0 ? tasks : undefined
  })
  expect(task).toMatchObject({ descriptionId: 'VirtualMachine.createSnapshot' })
  expect(await t.session.findRunningTasks(t.vm, 'RemoveSnapshot')).toEqual([])
  controller.abort(new Error('the job was cancelled'))
  await expect(creation).rejects.toThrow('the job was cancelled')

  // The server may finish nevertheless; whoever sweeps waits for the task and finds the snapshot by its name.
  await t.session.waitForTask(task?.moRef ?? '').catch(() => undefined)
  expect(await t.session.findRunningTasks(t.vm)).toEqual([])
  for (const { moRef, name } of await t.session.listSnapshots(t.vm)) {
    expect(name).toBe(SPEC.name)
    expect(await t.session.removeSnapshot(moRef)).toBe(true)
  }
  expect((await t.lab.control.vm('web')).snapshots).toEqual([])
})

test('a session that ends while a task runs does not lose the task', async () => {
  await using t = await labWithVm({ snapshotDelayMs: 1500 })
  const creation = t.session.createSnapshot(t.vm, SPEC)
  await waitFor(
    'the task to run',
    async () => (await t.session.findRunningTasks(t.vm)).length > 0 || undefined,
  )
  await t.lab.control.expireSessions()
  const snapshot = await creation
  expect((await t.session.listSnapshots(t.vm)).map(s => s.moRef)).toEqual([snapshot])
})

test('a snapshot of a VM that does not exist is not found', async () => {
  await using t = await labWithVm()
  await expect(t.session.createSnapshot('vm-999999', SPEC)).rejects.toMatchObject({ kind: 'not-found' })
  await expect(t.session.snapshotDisks('snapshot-999999')).rejects.toMatchObject({ kind: 'not-found' })
  expect(await t.session.removeSnapshot('snapshot-999999')).toBe(false)
})
