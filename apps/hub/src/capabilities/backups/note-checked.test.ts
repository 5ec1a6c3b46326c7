import { BackupId, RepositoryId } from '@sendense/contracts'
import { newId } from '@sendense/platform'
import { beforeEach, expect, test } from 'vitest'
import { noteChecked } from './note-checked.ts'

const repositoryId = RepositoryId.parse(newId())
const [whole, damaged, later, gone] = [1, 2, 3, 4].map(() => BackupId.parse(newId())) as [
  BackupId,
  BackupId,
  BackupId,
  BackupId,
]
let noted: Record<string, [string, ...Date[]]>

beforeEach(() => {
  noted = {}
})

const store = {
  listSucceeded: async () =>
    [
      { id: whole, restorePointId: 'of whole', finishedAt: new Date(1) },
      { id: damaged, restorePointId: 'of damaged', finishedAt: new Date(2) },
      { id: later, restorePointId: 'of later', finishedAt: new Date(200) },
      { id: gone, restorePointId: 'of gone', finishedAt: new Date(3) },
    ] as never,
  markDamaged: async (id: BackupId, at: Date) => {
    noted[id] = ['damaged', at]
  },
  markVerified: async (id: BackupId, { startedAt, finishedAt }: { startedAt: Date; finishedAt: Date }) => {
    noted[id] = ['verified', startedAt, finishedAt]
  },
}

function note(isComplete: boolean, damagedIds: string[]) {
  const damagedRestorePoints = damagedIds.map(id => ({ id, paths: [] }))
  const restorePointIds = ['of whole', 'of damaged', 'of later']
  const reading = isComplete ? { startedAt: new Date(100), restorePointIds } : null
  return noteChecked(
    { repositoryId, reading, damagedRestorePoints },
    { store, clock: { now: () => new Date(300) } },
  )
}

test('what cannot be read is damaged, and what was read is verified: not what was made meanwhile or is gone', async () => {
  await note(true, ['of damaged', 'of nobody we know'])
  expect(noted).toEqual({
    [whole]: ['verified', new Date(100), new Date(300)],
    [damaged]: ['damaged', new Date(300)],
  })
})

test('a check that has not read everything says nothing of what it did not find damaged', async () => {
  await note(false, ['of damaged'])
  expect(noted).toEqual({ [damaged]: ['damaged', new Date(300)] })
})
