import { type ChildProcess, spawn } from 'node:child_process'
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Backup, JobId, Progress, RepositoryId, Vm } from '@sendense/contracts'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { childEnd, waitFor } from '../support/child.ts'
import { CliSession } from '../support/cli-session.ts'
import { noise } from '../support/noise.ts'
import { problemOf } from '../support/problem-of.ts'
import { reasonCodes } from '../support/reason-codes.ts'
import { type ResticRepository, restic } from '../support/restic.ts'
import { guestHashes, restoredHashes } from '../support/restored-disks.ts'
import { type Stage, startStage } from '../support/stage.ts'

const MIB = 1024 * 1024

let stage: Stage
let vm: Vm
let cli: CliSession
let second: ResticRepository & { readonly id: RepositoryId }

beforeAll(async () => {
  stage = await startStage({ lab: { vms: [{ name: 'db1', disks: [{ sizeBytes: 16 * MIB }] }] } })
  vm = await stage.addVm('db1')
  cli = await CliSession.logIn(stage.hub)
  const path = stage.hub.dir.join('second')
  const created = await stage.admin.repositories.createRepository({
    body: { name: 'second', place: { type: 'local', path } },
  })
  second = { id: created.repository.id, path, password: created.password ?? '' }
})
afterAll(() => stage?.[Symbol.asyncDispose]())

async function write(atBytes: number, bytes: number, seed: string): Promise<void> {
  await stage.lab.control.write({ vm: vm.moRef, key: 2000 }, atBytes, noise(bytes, seed))
}

/** What a job that ends well has as its result. */
async function resultOf(started: Promise<{ jobId: JobId }>): Promise<NonNullable<Progress['result']>> {
  const { jobId } = await started
  const { state, failure, result } = await stage.finished(jobId)
  if (state !== 'succeeded' || !result) throw new Error(`The job is ${state}: ${JSON.stringify(failure)}`)
  return result
}

const main = () => ({ params: { repositoryId: stage.repository.id } })
const isIntact = async (repository: ResticRepository) =>
  (await restic({ hub: stage.hub, repository }, 'check', '--read-data')).includes('no errors were found')

describe('space that no restore point needs', () => {
  let first: Backup
  let latest: Backup

  beforeAll(async () => {
    await write(0, 4 * MIB, 'first')
    first = await stage.backUpWell(vm)
    await write(0, 4 * MIB, 'second')
    latest = await stage.backUpWell(vm)
  })

  test('statistics tell logical, unique and stored bytes apart', async () => {
    const counted = await stage.admin.repositories.getRepositoryStatistics(main())
    expect(counted).toMatchObject({ restorePointCount: 2, unusedBytes: null })
    expect(counted.logicalBytes).toBeGreaterThanOrEqual(32 * MIB)
    expect(counted.uniqueBytes).toBeGreaterThanOrEqual(8 * MIB)
    expect(counted.uniqueBytes).toBeLessThan(10 * MIB)
    expect(counted.storedBytes).toBeGreaterThanOrEqual(8 * MIB)
    expect(counted.dedupFactor).toBeGreaterThan(3)
    // Noise is not to be compressed.
    expect(counted.compressionFactor).toBeGreaterThan(0.9)
    expect(await cli.text('repository', 'stats', 'main')).toMatch(/^Restore points: +2$/m)
  })

  test('is found by a dry run, marked beside others, and given back by a prune that is alone', async () => {
    const prune = (body: { dryRun?: boolean; exclusive?: boolean }) =>
      resultOf(stage.admin.repositories.pruneRepository({ ...main(), body }))
    await stage.admin.backups.deleteBackup({ params: { backupId: first.id } })
    const before = await stage.admin.repositories.getRepositoryStorage(main())

    expect(await prune({ dryRun: true })).toMatchObject({
      isDryRun: true,
      restorePoints: 1,
      missingChunks: 0,
    })
    expect((await stage.admin.repositories.getRepositoryStorage(main())).usedBytes).toBe(before.usedBytes)

    const marked = await prune({})
    expect(marked).toMatchObject({ isDryRun: false, deleted: { packs: 0 } })
    expect(bytesOf(marked.marked)).toBeGreaterThanOrEqual(4 * MIB)
    expect(await isIntact(stage.repository)).toBe(true)

    const alone = await prune({ exclusive: true })
    expect(bytesOf(alone.deleted)).toBeGreaterThanOrEqual(4 * MIB)
    const after = await stage.admin.repositories.getRepositoryStorage(main())
    expect(before.usedBytes - after.usedBytes).toBeGreaterThanOrEqual(3.5 * MIB)
    expect(await isIntact(stage.repository)).toBe(true)
    expect(await restoredHashes(stage, latest)).toEqual(await guestHashes(stage, vm, [2000]))
  })

  test('is not given back while somebody writes; that backup is not disturbed', async () => {
    const { repositories, backups } = stage.admin
    await repositories.updateRepository({ ...main(), body: { limits: { writeBytesPerSecondMax: MIB } } })
    await write(8 * MIB, 6 * MIB, 'slowly')
    const { jobId, backupId } = await backups.startBackup({
      body: { vmId: vm.id, repositoryId: stage.repository.id },
    })
    const lock = await waitFor('a lock of the backup', async () => {
      return (await repositories.listRepositoryLocks(main())).locks.at(0)
    })
    expect(lock).toMatchObject({ role: 'write', isExclusive: false, isStale: false })
    const alone = await repositories.pruneRepository({ ...main(), body: { exclusive: true } })
    expect(await stage.finished(alone.jobId)).toMatchObject({
      state: 'failed',
      failure: { code: 'repository-locked' },
    })
    await resultOf(repositories.pruneRepository({ ...main(), body: {} }))
    await stage.finished(jobId)
    latest = await backups.getBackup({ params: { backupId } })
    expect(latest.status).toBe('succeeded')
    await repositories.updateRepository({ ...main(), body: { limits: { writeBytesPerSecondMax: null } } })
    expect((await repositories.listRepositoryLocks(main())).locks).toEqual([])
    expect(await isIntact(stage.repository)).toBe(true)
  })

  test('a copy in another repository is verified there, and comes back from there', async () => {
    const { backups } = stage.admin
    const params = { backupId: latest.id }
    await cli.text('backup', 'copy', latest.id, '--to', 'second')
    const [copy] = (await backups.listBackupCopies({ params })).copies
    if (!copy) throw new Error('There is no copy')
    expect(copy).toMatchObject({ copyOf: latest.id, repositoryId: second.id, status: 'succeeded' })
    expect(copy.verifiedAt).not.toBeNull()
    const again = backups.copyBackup({ params, body: { repositoryId: second.id } })
    expect(await problemOf(again)).toMatchObject({ code: 'conflict' })

    await resultOf(backups.verifyBackup({ params: { backupId: copy.id } }))
    expect(await isIntact(second)).toBe(true)
    expect(await restoredHashes(stage, copy)).toEqual(await guestHashes(stage, vm, [2000]))
    await write(0, MIB, 'third')
    const next = await stage.backUpWell(vm, { repositoryId: second.id })
    expect(next).toMatchObject({ mode: 'incremental', baseBackupId: copy.id })
  })

  test('what is lost is found by verification, and healed from copies of all restore points', async () => {
    const { repositories, backups } = stage.admin
    // Each has a file of its own about its VM, and any pack may hold it.
    const { backups: points } = await backups.getBackupChain({
      query: { vmId: vm.id, repositoryId: stage.repository.id },
    })
    for (const { id } of points.filter(point => point.id !== latest.id)) {
      await resultOf(backups.copyBackup({ params: { backupId: id }, body: { repositoryId: second.id } }))
    }
    const verify = (body: { scope: 'structure' | 'sample' | 'all'; samplePercent?: number }) =>
      repositories.verifyRepository({ ...main(), body })
    expect(await resultOf(verify({ scope: 'sample', samplePercent: 100 }))).toMatchObject({
      ...{ scope: 'sample', samplePercent: 100, problems: [] },
      readPacks: (await repositories.getRepositoryStatistics(main())).packCount,
    })
    await rm(await largestPack(stage.repository.path))
    const damaged = await stage.finished((await verify({ scope: 'structure' })).jobId)
    expect(damaged).toMatchObject({ state: 'failed', failure: { code: 'repository-damaged' } })
    // All that was found is kept with the job, and shown.
    const found = damaged.result as {
      problems: string[]
      damagedRestorePoints: { id: string; paths: string[] }[]
    }
    expect(found).toMatchObject({ scope: 'structure' })
    expect(found.problems).not.toEqual([])
    const point = found.damagedRestorePoints[0]
    expect(point?.paths).not.toEqual([])
    const told = cli.text('repository', 'verify', 'main', '--scope', 'structure')
    await expect(told).rejects.toThrow(`${point?.id}: ${point?.paths.join(', ')}`)
    // So it is in the list of backups, until it is mended.
    expect(await damagedIds()).toEqual(found.damagedRestorePoints.map(({ id }) => id).toSorted())
    expect(await cli.text('backup', 'list')).toContain(' damaged ')

    const repaired = await resultOf(
      repositories.repairRepository({ ...main(), body: { sourceRepositoryId: second.id } }),
    )
    expect(repaired).toMatchObject({
      isDryRun: false,
      missingPacks: 1,
      damagedRestorePoints: [],
      problems: [],
    })
    expect(repaired.healedChunks).toBeGreaterThan(0)
    // Nobody has read it since.
    expect(await damagedIds()).not.toEqual([])
    expect(await resultOf(verify({ scope: 'all' }))).toMatchObject({ problems: [] })
    expect(await damagedIds()).toEqual([])
    expect(await isIntact(stage.repository)).toBe(true)
    await resultOf(stage.admin.backups.verifyBackup({ params: { backupId: latest.id } }))
  })
})

test('of what a medium has changed the next backup stores anew what it needs, in whichever process', async () => {
  const { repositories, backups } = stage.admin
  const path = stage.hub.dir.join('rotten')
  const made = await repositories.createRepository({
    body: { name: 'rotten', place: { type: 'local', path } },
  })
  const rotten = { path, password: made.password ?? '' }
  const params = { repositoryId: made.repository.id }
  const old = await stage.backUpWell(vm, params)
  await flipBit(await largestPack(path), 1000)
  const verified = await repositories.verifyRepository({ params, body: { scope: 'all' } })
  expect(await stage.finished(verified.jobId)).toMatchObject({ failure: { code: 'repository-damaged' } })
  const isDamaged = async ({ id }: Backup) =>
    (await backups.getBackup({ params: { backupId: id } })).damagedAt !== null
  expect(await isDamaged(old)).toBe(true)
  await stage.hub.killAndRestart()
  await stage.node.waitUntilConnected(stage.admin)

  const next = await stage.backUpWell(vm, params)
  expect(next).toMatchObject({ mode: 'full', damagedAt: null })
  expect(reasonCodes(next)).toEqual({ 2000: ['restore-point-damaged'] })
  const { newBytes } = next.bytes
  expect(newBytes).toBeGreaterThan(0)
  expect(newBytes).toBeLessThan(old.bytes.newBytes)
  for (const backup of [old, next]) {
    await resultOf(backups.verifyBackup({ params: { backupId: backup.id } }))
    expect(await restoredHashes(stage, backup)).toEqual(await guestHashes(stage, vm, [2000]))
    expect(await isDamaged(backup)).toBe(false)
  }

  await expect(isIntact(rotten)).rejects.toThrow()
  expect(await resultOf(repositories.repairRepository({ params, body: {} }))).toMatchObject({
    ...{ damagedPacks: 1, protectedIndexFiles: 0, healedChunks: 0 },
    ...{ damagedRestorePoints: [], problems: [] },
  })
  expect(await isIntact(rotten)).toBe(true)
})

/** The restore points of the main repository that are known not to be whole. */
async function damagedIds(): Promise<string[]> {
  const query = { repositoryId: stage.repository.id, limit: 200 }
  const { items } = await stage.admin.backups.listBackups({ query })
  return items.flatMap(({ damagedAt, restorePointId }) => (damagedAt && restorePointId) || []).toSorted()
}

describe('keys and locks', () => {
  const opens = (password: string) =>
    restic({ hub: stage.hub, repository: { path: stage.repository.path, password } }, 'cat', 'config').then(
      () => true,
      () => false,
    )

  test('a recovery key is shown once and opens the repository without the Hub, until it is removed', async () => {
    const { repositories } = stage.admin
    const { keyId, password } = await repositories.addRepositoryKey({ ...main(), body: {} })
    if (password === null) throw new Error('No password was made up')
    expect(await opens(password)).toBe(true)
    const { keys } = await repositories.listRepositoryKeys(main())
    expect(keys.map(key => key.isCurrent)).toEqual([true, false])
    expect(JSON.stringify(keys) + stage.hub.program.log()).not.toContain(password)
    const current = keys[0]?.id ?? ''
    const inUse = repositories.removeRepositoryKey({ params: { ...main().params, keyId: current } })
    expect(await problemOf(inUse)).toMatchObject({ code: 'conflict' })
    await repositories.removeRepositoryKey({ params: { ...main().params, keyId } })
    expect(await opens(password)).toBe(false)
    expect((await repositories.listRepositoryKeys(main())).keys).toHaveLength(1)
  })

  test('a changed password is the one that counts, for the Hub and for stock restic', async () => {
    const { repositories } = stage.admin
    const password = 'a new password of the repository'
    await repositories.changeRepositoryPassword({ ...main(), body: { password } })
    expect([await opens(stage.repository.password), await opens(password)]).toEqual([false, true])
    // The Hub opens it anew.
    await repositories.updateRepository({ ...main(), body: { isEnabled: false } })
    await repositories.updateRepository({ ...main(), body: { isEnabled: true } })
    expect((await repositories.listRepositoryKeys(main())).keys).toMatchObject([{ isCurrent: true }])
    await stage.backUpWell(vm)
  })

  test('a Hub that starts while somebody has locked a repository restores from it, and waits with storing', async () => {
    const { repositories, backups } = stage.admin
    const params = { repositoryId: second.id }
    const query = { vmId: vm.id, repositoryId: second.id }
    const newest = (await backups.getBackupChain({ query })).backups.at(-1)
    if (!newest) throw new Error('There is no backup')
    const child = checkSlowly(second)
    await waitFor('a lock of restic', async () =>
      (await repositories.listRepositoryLocks({ params })).locks.at(0),
    )
    await stage.hub.killAndRestart()
    await stage.node.waitUntilConnected(stage.admin)
    expect((await restoredHashes(stage, newest)).size).toBe(1)
    expect((await repositories.listRepositoryLocks({ params })).locks).toMatchObject([{ role: 'foreign' }])
    const refused = await stage.backUp(vm, { repositoryId: second.id })
    expect(refused).toMatchObject({ status: 'failed', failure: { code: 'repository-locked' } })
    child.kill('SIGKILL')
    await childEnd(child)
    await repositories.removeStaleLocks({ params })
    await stage.backUpWell(vm, { repositoryId: second.id })
  })

  test('the lock of a program that was killed is shown, and removed by hand', async () => {
    const { repositories } = stage.admin
    const params = { repositoryId: second.id }
    const child = checkSlowly(second)
    const lock = await waitFor('a lock of restic', async () => {
      return (await repositories.listRepositoryLocks({ params })).locks.at(0)
    })
    expect(lock).toMatchObject({ role: 'foreign', isExclusive: true, isStale: false, pid: child.pid })
    expect(await repositories.removeStaleLocks({ params })).toEqual({ removedCount: 0 })
    child.kill('SIGKILL')
    await childEnd(child)
    expect((await repositories.listRepositoryLocks({ params })).locks).toMatchObject([{ isStale: true }])
    expect(await repositories.removeStaleLocks({ params })).toEqual({ removedCount: 1 })
    expect((await repositories.listRepositoryLocks({ params })).locks).toEqual([])
  })
})

/** Stock restic at work, holding an exclusive lock. */
function checkSlowly({ path, password }: ResticRepository): ChildProcess {
  const where = ['--repo', path, '--no-cache', '--limit-download', '64']
  const env = { ...process.env, RESTIC_PASSWORD: password }
  return spawn('restic', [...where, 'check', '--read-data'], { env, stdio: 'ignore' })
}

function bytesOf(amount: unknown): number {
  return (amount as { bytes: number }).bytes
}

async function flipBit(path: string, atByte: number): Promise<void> {
  const content = await readFile(path)
  content.writeUInt8(content.readUInt8(atByte) ^ 1, atByte)
  await writeFile(path, content)
}

async function largestPack(repository: string): Promise<string> {
  const data = join(repository, 'data')
  const entries = await readdir(data, { recursive: true, withFileTypes: true })
  const packs = entries.filter(entry => entry.isFile()).map(entry => join(entry.parentPath, entry.name))
  const sizes = await Promise.all(packs.map(async path => ({ path, size: (await stat(path)).size })))
  const [largest] = sizes.sort((one, other) => other.size - one.size)
  if (!largest) throw new Error(`${data} holds no packs`)
  return largest.path
}
