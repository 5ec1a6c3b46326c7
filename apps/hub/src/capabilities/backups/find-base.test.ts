import { NodeId, RepositoryId, VmId } from '@sendense/contracts'
import { newId } from '@sendense/platform'
import { beforeEach, expect, test } from 'vitest'
import { BackupsMemoryStore } from './backups.store.memory.ts'
import { aBackup, aCompletion } from './backups.store.suite.ts'
import { absenceOf, findBase } from './find-base.ts'

const owner = {
  vmId: VmId.parse(newId()),
  repositoryId: RepositoryId.parse(newId()),
  nodeId: NodeId.parse(newId()),
}
let store: BackupsMemoryStore
beforeEach(() => {
  store = new BackupsMemoryStore()
})

test('the newest restore point that the repository has is the base', async () => {
  await aPoint('a', 1)
  const newest = await aPoint('b', 2)
  const { base, reasons } = await findBase(store, owner, repositoryWith('a', 'b'))
  expect(base).toMatchObject({ backupId: newest.id, restorePointId: 'b' })
  expect(reasons).toEqual([])
})

test('when the newest one was removed, the one before serves, and that is said', async () => {
  const older = await aPoint('a', 1)
  const newest = await aPoint('b', 2)
  const { base, reasons } = await findBase(store, owner, repositoryWith('a'))
  expect(base?.backupId).toBe(older.id)
  expect(reasons.map(reason => reason.code)).toEqual(['restore-point-missing'])
  expect(await store.get(newest.id)).toMatchObject({ status: 'missing' })
})

test('when the newest one is damaged, the one before serves, and that is said', async () => {
  const older = await aPoint('a', 1)
  const newest = await aPoint('b', 2)
  await store.markDamaged(newest.id, new Date(3))
  const { base, reasons } = await findBase(store, owner, repositoryWith('a', 'b'))
  expect(base?.backupId).toBe(older.id)
  expect(reasons.map(reason => reason.code)).toEqual(['restore-point-damaged'])
  expect(await store.get(newest.id)).toMatchObject({ status: 'succeeded' })
})

test('when none is left there is no base, and it is not a first backup either', async () => {
  await aPoint('a', 1)
  const gone = await findBase(store, owner, repositoryWith())
  expect([gone.base, absenceOf(gone.reasons)]).toEqual([undefined, 'restore-point-missing'])
  const { id } = await aPoint('b', 2)
  await store.markDamaged(id, new Date(3))
  const damaged = await findBase(store, owner, repositoryWith('b'))
  expect([damaged.base, absenceOf(damaged.reasons)]).toEqual([undefined, 'restore-point-damaged'])
  expect(absenceOf([])).toBe('first-backup')
})

test('a restore point in another repository is no base', async () => {
  await aPoint('a', 1)
  const elsewhere = { ...owner, repositoryId: RepositoryId.parse(newId()) }
  const found = await findBase(store, elsewhere, repositoryWith('a'))
  expect(found).toEqual({ base: undefined, reasons: [] })
})

async function aPoint(restorePointId: string, time: number) {
  const backup = aBackup(owner)
  await store.add(backup)
  await store.complete(backup.id, { ...aCompletion(), restorePointId, capturedAt: new Date(time) })
  return backup
}

function repositoryWith(...ids: string[]) {
  return { restorePointIds: async () => ids }
}
