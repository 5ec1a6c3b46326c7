import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Backup, NodeId, Vm } from '@sendense/contracts'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { waitFor } from '../support/child.ts'
import { hashFile } from '../support/hash-file.ts'
import { untilNothingLeft } from '../support/leftovers.ts'
import { noise } from '../support/noise.ts'
import { reasonCodes } from '../support/reason-codes.ts'
import { restic } from '../support/restic.ts'
import { guestHashes, restoredHashes } from '../support/restored-disks.ts'
import { type Stage, startStage } from '../support/stage.ts'

const MIB = 1024 * 1024

let stage: Stage
let vm: Vm
beforeAll(async () => {
  stage = await startStage({
    lab: {
      maxAreas: 3,
      vms: [
        {
          name: 'データ [web] 1',
          controllers: ['pvscsi', 'lsilogic'],
          disks: [
            { sizeBytes: 64 * MIB },
            { sizeBytes: 10 * MIB + 512 * 3, controller: 1 },
            { sizeBytes: 8 * MIB, mode: 'independent_persistent' },
          ],
        },
      ],
    },
  })
  vm = await stage.addVm('データ [web] 1')
}, 120_000)
afterAll(() => stage?.[Symbol.asyncDispose]())

test('a full backup, changes, an incremental, and disks that come back as they were', async () => {
  const { lab } = stage
  const [first, second] = protectedKeys()
  await lab.control.write({ vm: vm.moRef, key: first }, 3 * MIB + 17, noise(5 * MIB, 'one'))
  await lab.control.write({ vm: vm.moRef, key: second }, 10 * MIB, noise(512 * 3, 'tail'))

  const full = await stage.backUpWell(vm)
  const fullHashes = await guestHashes(stage, vm, protectedKeys())
  expect(full).toMatchObject({ status: 'succeeded', mode: 'full', baseBackupId: null, failure: null })
  expect(full.reasons).toMatchObject([{ code: 'change-tracking-enabled-now' }])
  expect(reasonCodes(full)).toEqual({ [first]: ['first-backup'], [second]: ['first-backup'] })
  expect(full.skippedDisks).toMatchObject([{ reason: { code: 'disk-independent' } }])
  expect(full.bytes.readBytes).toBeLessThan(20 * MIB)

  await lab.control.write({ vm: vm.moRef, key: first }, 40 * MIB, noise(MIB, 'two'))
  const incremental = await stage.backUpWell(vm)
  const incrementalHashes = await guestHashes(stage, vm, protectedKeys())
  expect(incremental).toMatchObject({ mode: 'incremental', baseBackupId: full.id })
  expect(reasonCodes(incremental)).toEqual({ [first]: [], [second]: [] })
  expect(incremental.bytes.readBytes).toBeLessThanOrEqual(2 * MIB)

  expect(await restoredHashes(stage, full)).toEqual(fullHashes)
  expect(await restoredHashes(stage, incremental)).toEqual(incrementalHashes)
  expect(incrementalHashes).not.toEqual(fullHashes)
})

test('nothing of ours is left on the vCenter, and nothing runs', async () => {
  await untilNothingLeft(stage)
})

test('a restore point is verified byte by byte', async () => {
  const [backup] = (await stage.admin.backups.listBackups({ query: { vmId: vm.id } })).items
  const { jobId } = await stage.admin.backups.verifyBackup({ params: { backupId: idOf(backup) } })
  expect(await stage.finished(jobId)).toMatchObject({ state: 'succeeded' })
  const verified = await stage.admin.backups.getBackup({ params: { backupId: idOf(backup) } })
  expect(verified.verifiedAt).not.toBeNull()
})

test('the chain and the change ids of the VM are told', async () => {
  const query = { vmId: vm.id, repositoryId: stage.repository.id }
  const chain = await stage.admin.backups.getBackupChain({ query })
  expect(chain.backups.map(backup => backup.mode)).toEqual(['full', 'incremental'])
  const [diskKey] = protectedKeys()
  const found = await stage.admin.backups.getChangeId({ query: { ...query, diskKey } })
  expect(found).toMatchObject({ backupId: chain.backups.at(-1)?.id, changeId: expect.stringMatching(/^52 /) })
  await expect(stage.admin.backups.getChangeId({ query: { ...query, diskKey: 1 } })).rejects.toMatchObject({
    problem: { code: 'not-found' },
  })
})

test('stock restic checks every byte of the repository and restores the same disk', async () => {
  expect(await restic(stage, 'check', '--read-data')).toContain('no errors were found')
  const target = stage.hub.dir.join('from-restic')
  const [newest] = (await stage.admin.backups.listBackups({ query: { vmId: vm.id } })).items
  await restic(stage, 'restore', newest?.restorePointId ?? '', '--target', target)
  const files = await readdir(target, { recursive: true })
  const [first] = protectedKeys()
  const disk = files.find(file => file.endsWith(`disk-${first}.raw`))
  const truth = await stage.lab.control.hashDisk({ vm: vm.moRef, key: first })
  expect(await hashFile(join(target, disk ?? ''))).toBe(truth)
  expect(files.some(file => file.endsWith('vm.json'))).toBe(true)
})

test('a Node that is limited sends no faster, until the limit is taken away', async () => {
  const [first] = protectedKeys()
  const { nodeId } = (await stage.admin.vcenters.listVcenters({})).items[0] ?? {}
  const limit = (bytesPerSecondMax: number | null) =>
    stage.admin.enrollment.updateNode({ params: { nodeId: nodeId as NodeId }, body: { bytesPerSecondMax } })
  await stage.lab.control.write({ vm: vm.moRef, key: first }, 16 * MIB, noise(16 * MIB, 'limited'))
  expect(await limit(MIB)).toMatchObject({ bytesPerSecondMax: MIB })
  const running = stage.backUpWell(vm)
  const beganAt = performance.now()
  const hasSent = async () => {
    const [job] = (await stage.admin.jobs.listJobs({ query: { kind: 'backup', limit: 1 } })).items
    return (job?.state === 'running' && job.bytes.newBytes >= 3 * MIB) || undefined
  }
  await waitFor('the Node to have sent 3 MiB, and to go on', hasSent)
  // Without a limit all 16 are sent by then.
  expect(performance.now() - beganAt).toBeGreaterThan(1500)
  expect(await limit(null)).toMatchObject({ bytesPerSecondMax: null })
  expect((await running).bytes.newBytes).toBeGreaterThanOrEqual(15 * MIB)
})

function protectedKeys(): [number, number] {
  const [first, second] = vm.disks.filter(disk => disk.excluded === null).map(disk => disk.key)
  if (first === undefined || second === undefined) throw new Error('the VM has fewer than two disks')
  return [first, second]
}

function idOf(backup: Backup | undefined): Backup['id'] {
  if (!backup) throw new Error('there is no backup')
  return backup.id
}
