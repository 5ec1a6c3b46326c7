import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import type { Backup, Vm } from '@sendense/contracts'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Stage, startStage } from '../support/stage.ts'

const run = promisify(execFile)
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
  const fullHashes = await diskHashes()
  expect(full).toMatchObject({ status: 'succeeded', mode: 'full', baseBackupId: null, failure: null })
  expect(reasonCodes(full)).toEqual([
    ['first-backup', 'change-tracking-enabled-now'].toSorted(),
    ['first-backup', 'change-tracking-enabled-now'].toSorted(),
  ])
  expect(full.skippedDisks).toMatchObject([{ reason: { code: 'disk-independent' } }])
  expect(full.bytes.readBytes).toBeLessThan(20 * MIB)

  await lab.control.write({ vm: vm.moRef, key: first }, 40 * MIB, noise(MIB, 'two'))
  const incremental = await stage.backUpWell(vm)
  const incrementalHashes = await diskHashes()
  expect(incremental).toMatchObject({ mode: 'incremental', baseBackupId: full.id })
  expect(reasonCodes(incremental)).toEqual([[], []])
  expect(incremental.bytes.readBytes).toBeLessThanOrEqual(2 * MIB)

  expect(await restoredHashes(full)).toEqual(fullHashes)
  expect(await restoredHashes(incremental)).toEqual(incrementalHashes)
  expect(incrementalHashes).not.toEqual(fullHashes)
})

test('nothing of ours is left on the vCenter, and nothing runs', async () => {
  const { vms, vddkSessions } = await stage.lab.control.state()
  expect(vms.flatMap(one => one.snapshots)).toEqual([])
  expect(vddkSessions).toBe(0)
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
  const { repository, hub } = stage
  const passwordFile = hub.dir.join('restic-password')
  await writeFile(passwordFile, repository.password, { mode: 0o600 })
  const restic = (...args: string[]) =>
    run('restic', ['--repo', repository.path, '--password-file', passwordFile, '--no-cache', ...args])
  const { stdout } = await restic('check', '--read-data')
  expect(stdout).toContain('no errors were found')
  const target = hub.dir.join('from-restic')
  const [newest] = (await stage.admin.backups.listBackups({ query: { vmId: vm.id } })).items
  await restic('restore', newest?.restorePointId ?? '', '--target', target)
  const { stdout: files } = await run('find', [target, '-type', 'f'])
  const [first] = protectedKeys()
  const disk = files.split('\n').find(file => file.endsWith(`disk-${first}.raw`))
  expect(await hashOf(disk ?? '')).toBe(await stage.lab.control.hashDisk({ vm: vm.moRef, key: first }))
  expect(files).toContain('vm.json')
})

function protectedKeys(): [number, number] {
  const [first, second] = vm.disks.filter(disk => disk.excluded === null).map(disk => disk.key)
  if (first === undefined || second === undefined) throw new Error('the VM has fewer than two disks')
  return [first, second]
}

function reasonCodes(backup: Backup): string[][] {
  return backup.disks.map(disk => disk.reasons.map(reason => reason.code).toSorted())
}

/** The disks as the guest has them now. */
async function diskHashes(): Promise<string[]> {
  return Promise.all(protectedKeys().map(key => stage.lab.control.hashDisk({ vm: vm.moRef, key })))
}

async function restoredHashes(backup: Backup): Promise<string[]> {
  const hashes: string[] = []
  for (const { key } of backup.disks) {
    const { jobId } = await stage.admin.backups.restoreDisk({
      params: { backupId: backup.id },
      body: { diskKey: key },
    })
    const { state, result, failure } = await stage.finished(jobId)
    expect({ state, failure }).toEqual({ state: 'succeeded', failure: null })
    hashes.push(await hashOf(String(result?.path)))
  }
  return hashes
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}

/** Bytes that do not compress, the same at each run. */
function noise(length: number, seed: string): Buffer<ArrayBuffer> {
  const blocks: Buffer[] = []
  for (let block = 0; block * 32 < length; block += 1) {
    blocks.push(createHash('sha256').update(`${seed}${block}`).digest())
  }
  return Buffer.concat(blocks).subarray(0, length)
}

function idOf(backup: Backup | undefined): Backup['id'] {
  if (!backup) throw new Error('there is no backup')
  return backup.id
}
