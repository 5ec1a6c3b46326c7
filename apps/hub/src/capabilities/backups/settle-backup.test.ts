import { BackupId, type Failure, NodeId, RepositoryId, VmId, type VmManifest } from '@sendense/contracts'
import type { Repository } from '@sendense/engine'
import { newId } from '@sendense/platform'
import { FakeClock, memoryLog } from '@sendense/platform/testing'
import { beforeEach, expect, test } from 'vitest'
import type { JobEnd } from '../jobs/index.ts'
import { BackupsMemoryStore } from './backups.store.memory.ts'
import { aBackup } from './backups.store.suite.ts'
import type { Backup } from './backups.store.ts'
import { backupTag, MANIFEST_FILE } from './restore-point-manifest.ts'
import { settleBackup } from './settle-backup.ts'

const clock = new FakeClock()
const lost: Failure = { code: 'job-interrupted', detail: 'The Hub was restarted' }
const failed: JobEnd = { state: 'failed', failure: lost, finishedAt: new Date('2026-02-02T00:00:00Z') }

let store: BackupsMemoryStore
let backup: Backup
let end: JobEnd | undefined
let repository: Pick<Repository, 'restorePoints' | 'readText'> | undefined
beforeEach(async () => {
  store = new BackupsMemoryStore()
  const vmId = VmId.parse(newId())
  backup = aBackup({ vmId, repositoryId: RepositoryId.parse(newId()), nodeId: NodeId.parse(newId()) })
  await store.add(backup)
  end = failed
  repository = repositoryWith()
})

function settle(): Promise<Backup> {
  return settleBackup(backup, {
    store,
    jobs: { endOf: async () => end },
    repositories: { ifOpen: async () => repository as Repository | undefined },
    clock,
    log: memoryLog(),
  })
}

function repositoryWith(...ofBackups: BackupId[]): NonNullable<typeof repository> {
  const tagsOf = (id: BackupId) => ['sendense', backupTag(id)]
  return {
    restorePoints: async () => ofBackups.map(id => ({ id: `of ${id}`, tags: tagsOf(id) })) as never,
    readText: async (_point, path) => (path === MANIFEST_FILE ? JSON.stringify(aManifest()) : ''),
  }
}

function aManifest() {
  return {
    ...{ format: 'sendense-restore-point', version: 1, backupId: backup.id, jobId: backup.jobId },
    ...{ vmId: backup.vmId, vcenterId: newId(), nodeId: backup.nodeId, baseBackupId: null, chunkBytes: 1024 },
    startedAt: '2026-01-01T00:00:00.000Z',
    capturedAt: '2026-01-01T00:00:01.000Z',
    isQuiesced: false,
    vm: aVm(),
    ...{ disks: [], skippedDisks: [], reasons: [], tags: {} },
  }
}

function aVm(): VmManifest {
  return {
    ...{ vcenterInstanceUuid: newId(), instanceUuid: newId(), biosUuid: newId(), moRef: 'vm-1', name: 'db1' },
    ...{
      folderPath: '/',
      datacenter: 'DC0',
      guestId: 'debian12_64Guest',
      guestOs: 'Debian',
      firmware: 'bios',
    },
    ...{ hardwareVersion: 'vmx-19', cpuCount: 1, memoryMb: 512, disks: [], nics: [] },
  }
}

test('a backup whose job runs is as it is', async () => {
  end = undefined
  expect(await settle()).toEqual(backup)
})

test('one whose job has ended without saying so has ended like its job', async () => {
  expect(await settle()).toMatchObject({ status: 'failed', failure: lost, finishedAt: failed.finishedAt })
  expect(await store.get(backup.id)).toMatchObject({ status: 'failed', failure: lost })
})

test('one that was cancelled before it began is cancelled', async () => {
  end = { state: 'cancelled', failure: null, finishedAt: new Date(1) }
  expect(await settle()).toMatchObject({ status: 'cancelled', failure: { code: 'job-cancelled' } })
})

test('one whose restore point was made has succeeded, whatever has become of its job', async () => {
  repository = repositoryWith(BackupId.parse(newId()), backup.id)
  expect(await settle()).toMatchObject({
    status: 'succeeded',
    restorePointId: `of ${backup.id}`,
    failure: null,
  })
})

test('while its repository cannot be asked it is told as ended, and asked for again later', async () => {
  repository = undefined
  expect(await settle()).toMatchObject({ status: 'failed', failure: lost })
  expect(await store.get(backup.id)).toMatchObject({ status: 'running' })
  repository = { ...repositoryWith(), restorePoints: () => Promise.reject(new Error('The storage is away')) }
  expect(await settle()).toMatchObject({ status: 'failed', failure: lost })
  repository = repositoryWith(backup.id)
  expect(await settle()).toMatchObject({ status: 'succeeded' })
})
