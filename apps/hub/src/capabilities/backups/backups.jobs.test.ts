import { JobId, NodeId, RepositoryId, VmId } from '@sendense/contracts'
import type { Repository } from '@sendense/engine'
import { newId } from '@sendense/platform'
import { FakeClock, memoryLog } from '@sendense/platform/testing'
import { beforeEach, expect, test } from 'vitest'
import type { JobRun } from '../jobs/index.ts'
import { type VerifyInput, verifyJob } from './backups.jobs.ts'
import { BackupsMemoryStore } from './backups.store.memory.ts'
import { aBackup, aCompletion } from './backups.store.suite.ts'
import type { Backup } from './backups.store.ts'

const repositoryId = RepositoryId.parse(newId())
const REPORT = { chunks: 2, bytes: 8, damaged: [] }
let store: BackupsMemoryStore
let clock: FakeClock
let backup: Backup

beforeEach(async () => {
  store = new BackupsMemoryStore()
  clock = new FakeClock()
  backup = aBackup({ vmId: VmId.parse(newId()), repositoryId, nodeId: NodeId.parse(newId()) })
  await store.add(backup)
  await store.complete(backup.id, aCompletion())
})

test('a verification that reads everything ends what was known to be damaged before', async () => {
  await store.markDamaged(backup.id, clock.now())
  await clock.advance(1)
  await verify(() => clock.advance(1))
  expect(await store.get(backup.id)).toMatchObject({ damagedAt: null, verifiedAt: clock.now() })
})

test('damage that is found while a restore point is verified outweighs the verification', async () => {
  await verify(async () => {
    await clock.advance(1)
    await store.markDamaged(backup.id, clock.now())
    await clock.advance(1)
  })
  expect(await store.get(backup.id)).toMatchObject({ damagedAt: expect.any(Date), verifiedAt: null })
})

/** Verifies, and lets something happen while everything is read and is right. */
function verify(meanwhile: () => Promise<unknown>) {
  const repository = {
    verify: async () => {
      await meanwhile()
      return REPORT
    },
  }
  const repositories = { open: async () => ({ repository: repository as unknown as Repository }) }
  const input = { backupId: backup.id, repositoryId, restorePointId: 'ab' }
  return verifyJob({ store, repositories: repositories as never, clock }).run(aRun(input))
}

function aRun(input: VerifyInput): JobRun<VerifyInput> {
  const { signal } = new AbortController()
  return {
    ...{ jobId: JobId.parse(newId()), input, signal, isResumed: false, log: memoryLog() },
    step: (_name, action) => action(),
    ...{ setStep: async () => {}, report: () => {}, keep: () => {}, note: async () => {} },
  }
}
