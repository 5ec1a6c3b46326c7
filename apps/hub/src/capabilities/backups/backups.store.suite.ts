import { randomBytes } from 'node:crypto'
import {
  BackupId,
  JobId,
  NO_BYTES,
  type NodeId,
  type RepositoryId,
  reasonOf,
  type VmId,
} from '@sendense/contracts'
import { newId } from '@sendense/platform'
import { describe, expect, test } from 'vitest'
import type { Backup, BackupCompletion, BackupsStore } from './backups.store.ts'

/** A store, and the things that backups refer to. */
export interface OpenedBackupsStore {
  store: BackupsStore
  vmId: VmId
  repositoryId: RepositoryId
  nodeId: NodeId
}

/** What every store of backups promises. */
export function backupsStoreSuite(name: string, open: () => Promise<OpenedBackupsStore>): void {
  describe(name, () => {
    test('a running backup comes back as it was stored', async () => {
      const opened = await open()
      const backup = aBackup(opened)
      await opened.store.add(backup)
      expect(await opened.store.get(backup.id)).toEqual(backup)
    })

    test('adding a backup again changes nothing', async () => {
      const opened = await open()
      const backup = aBackup(opened)
      await opened.store.add(backup)
      await opened.store.complete(backup.id, aCompletion())
      await opened.store.add(backup)
      expect(await opened.store.get(backup.id)).toMatchObject({ status: 'succeeded' })
    })

    test('a backup that is completed has its disks with their reasons and bytes', async () => {
      const opened = await open()
      const backup = aBackup(opened)
      await opened.store.add(backup)
      const completion = aCompletion()
      expect(await opened.store.complete(backup.id, completion)).toBe(true)
      expect(await opened.store.get(backup.id)).toEqual({ ...backup, ...completion, status: 'succeeded' })
    })

    test('only a running backup ends, and it ends once', async () => {
      const opened = await open()
      const backup = aBackup(opened)
      await opened.store.add(backup)
      const failure = { code: 'node-lost' as const, detail: 'It went away.' }
      expect(await opened.store.end(backup.id, 'failed', failure, new Date(5))).toBe(true)
      expect(await opened.store.complete(backup.id, aCompletion())).toBe(false)
      expect(await opened.store.end(backup.id, 'cancelled', failure, new Date(6))).toBe(false)
      expect(await opened.store.get(backup.id)).toMatchObject({
        status: 'failed',
        failure,
        finishedAt: new Date(5),
        disks: [],
      })
    })

    test('a restore point is that of one backup, until that one has lost it', async () => {
      const opened = await open()
      const first = await aSucceededBackup(opened, 1)
      const { restorePointId } = (await opened.store.get(first.id)) ?? {}
      const second = aBackup(opened)
      await opened.store.add(second)
      const completion = { ...aCompletion(), restorePointId: restorePointId ?? null }
      await expect(opened.store.complete(second.id, completion)).rejects.toMatchObject({
        code: 'conflict',
        message: expect.stringContaining(first.id),
      })
      expect(await opened.store.get(second.id)).toEqual(second)
      await opened.store.markMissing(first.id)
      expect(await opened.store.complete(second.id, completion)).toBe(true)
    })

    test('the chain holds succeeded backups by the time of their capture', async () => {
      const opened = await open()
      const times = [30, 10, 20]
      for (const time of times) await aSucceededBackup(opened, time)
      await opened.store.add(aBackup(opened))
      const gone = await aSucceededBackup(opened, 5)
      await opened.store.markMissing(gone.id)
      const chain = await opened.store.chain(opened.vmId, opened.repositoryId)
      expect(chain.map(backup => backup.capturedAt?.getTime())).toEqual([10, 20, 30])
    })

    test('backups are listed newest first, page by page, by status', async () => {
      const opened = await open()
      const ids: string[] = []
      for (let count = 0; count < 3; count += 1) ids.unshift((await aSucceededBackup(opened, count)).id)
      const first = await opened.store.list({ limit: 2 })
      const second = await opened.store.list({
        limit: 2,
        ...(first.nextCursor && { cursor: first.nextCursor }),
      })
      expect([...first.items, ...second.items].map(backup => backup.id)).toEqual(ids)
      expect((await opened.store.list({ limit: 2, status: 'failed' })).items).toEqual([])
      expect(
        (await opened.store.list({ limit: 9, vmId: opened.vmId, status: 'succeeded' })).items,
      ).toHaveLength(3)
    })

    test('a verification is remembered', async () => {
      const opened = await open()
      const { id } = await aSucceededBackup(opened, 1)
      await opened.store.markVerified(id, { startedAt: new Date(6), finishedAt: new Date(7) })
      expect(await opened.store.get(id)).toMatchObject({ verifiedAt: new Date(7), status: 'succeeded' })
    })

    test('damage is remembered with the time it was last found, until all can be read again', async () => {
      const opened = await open()
      const { id } = await aSucceededBackup(opened, 1)
      for (const foundAt of [5, 6, 4]) await opened.store.markDamaged(id, new Date(foundAt))
      expect(await opened.store.get(id)).toMatchObject({ damagedAt: new Date(6), verifiedAt: null })
      await opened.store.markVerified(id, { startedAt: new Date(7), finishedAt: new Date(8) })
      expect(await opened.store.get(id)).toMatchObject({ damagedAt: null, verifiedAt: new Date(8) })
    })

    test('damage that is found while all is read back outweighs the reading', async () => {
      const opened = await open()
      const { id } = await aSucceededBackup(opened, 1)
      // It had been known before the reading began, and was found again while it went on.
      for (const foundAt of [4, 6]) await opened.store.markDamaged(id, new Date(foundAt))
      for (const startedAt of [5, 6]) {
        await opened.store.markVerified(id, { startedAt: new Date(startedAt), finishedAt: new Date(7) })
        expect(await opened.store.get(id)).toMatchObject({ damagedAt: new Date(6), verifiedAt: null })
      }
    })

    test('a restore point that was removed is told, and is in no chain any more', async () => {
      const opened = await open()
      const { id } = await aSucceededBackup(opened, 1)
      const kept = await aSucceededBackup(opened, 2)
      await opened.store.markForgotten(id)
      expect(await opened.store.get(id)).toMatchObject({ status: 'forgotten', verifiedAt: null })
      const succeeded = await opened.store.listSucceeded(opened.repositoryId)
      expect(succeeded.map(backup => backup.id)).toEqual([kept.id])
      expect(succeeded[0]?.disks).toHaveLength(2)
      expect((await opened.store.list({ limit: 9, status: 'forgotten' })).items).toHaveLength(1)
    })

    test('copies are found by what they are copies of, oldest first, whatever has become of them', async () => {
      const opened = await open()
      const source = await aSucceededBackup(opened, 1)
      const copies = [aBackup(opened), aBackup(opened)].map(copy => ({ ...copy, copyOf: source.id }))
      for (const copy of copies.toReversed()) await opened.store.add(copy)
      const found = await opened.store.listCopies(source.id)
      expect(found).toEqual(copies)
      expect(await opened.store.listCopies(copies[0]?.id ?? source.id)).toEqual([])
    })
  })
}

async function aSucceededBackup(opened: OpenedBackupsStore, time: number): Promise<Backup> {
  const backup = aBackup(opened)
  await opened.store.add(backup)
  await opened.store.complete(backup.id, { ...aCompletion(), capturedAt: new Date(time) })
  return backup
}

/** A backup that runs. */
export function aBackup({ vmId, repositoryId, nodeId }: Omit<OpenedBackupsStore, 'store'>): Backup {
  return {
    id: BackupId.parse(newId()),
    jobId: JobId.parse(newId()),
    vmId,
    vmName: 'データ [1]',
    repositoryId,
    nodeId,
    status: 'running',
    restorePointId: null,
    baseBackupId: null,
    chunkBytes: 1024 * 1024,
    mode: null,
    capturedAt: null,
    isQuiesced: false,
    startedAt: new Date('2026-01-01T00:00:00.123Z'),
    finishedAt: null,
    disks: [],
    skippedDisks: [],
    reasons: [],
    bytes: NO_BYTES,
    failure: null,
    verifiedAt: null,
    damagedAt: null,
    copyOf: null,
    tags: { why: 'nightly' },
  }
}

/** How a backup ends well. */
export function aCompletion(): BackupCompletion {
  const bytes = {
    logicalBytes: 2 ** 45,
    changedBytes: 5,
    readBytes: 2 ** 40 + 1,
    newBytes: 3,
    storedBytes: 2,
  }
  const disk = (key: number) => ({
    key,
    label: `Hard disk ${key}`,
    file: `disk-${key}.raw`,
    sizeBytes: 2 ** 44,
    uuid: '6000c29a-0000-0000-0000-000000000001',
    mode: 'incremental' as const,
    reasons: [reasonOf('change-tracking-enabled-now')],
    changeId: '52 aa bb cc/7',
    bytes,
  })
  return {
    restorePointId: randomBytes(32).toString('hex'),
    baseBackupId: null,
    mode: 'incremental',
    capturedAt: new Date('2026-01-01T00:00:01.456Z'),
    isQuiesced: true,
    finishedAt: new Date('2026-01-01T00:00:02.789Z'),
    disks: [disk(2000), disk(2016)],
    skippedDisks: [{ key: 2001, label: 'Hard disk 2', reason: reasonOf('disk-independent') }],
    reasons: [reasonOf('quiesce-failed', 'VMware Tools are not running.')],
    bytes,
  }
}
