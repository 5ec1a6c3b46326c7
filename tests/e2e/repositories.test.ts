import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type Backup, ForgetReport, type Vm } from '@sendense/contracts'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CliSession } from '../support/cli-session.ts'
import { noise } from '../support/noise.ts'
import { problemOf } from '../support/problem-of.ts'
import { restic } from '../support/restic.ts'
import { type Stage, startStage } from '../support/stage.ts'

const MIB = 1024 * 1024

let stage: Stage
let vm: Vm

beforeAll(async () => {
  stage = await startStage({ lab: { vms: [{ name: 'db1', disks: [{ sizeBytes: 16 * MIB }] }] } })
  vm = await stage.addVm('db1')
})
afterAll(() => stage?.[Symbol.asyncDispose]())

/** Writes something new, and backs it up. */
async function backUpChange(seed: string): Promise<Backup> {
  await stage.lab.control.write({ vm: vm.moRef, key: 2000 }, 0, noise(2 * MIB, seed))
  return stage.backUpWell(vm)
}

async function resticSnapshotIds(): Promise<string[]> {
  const snapshots = JSON.parse(await restic(stage, 'snapshots', '--json')) as { id: string }[]
  return snapshots.map(({ id }) => id)
}

describe('restore points', () => {
  test('go by rules: a dry run tells, the run removes, and stock restic sees the rest', async () => {
    const [first, second, third] = [await backUpChange('1'), await backUpChange('2'), await backUpChange('3')]
    const params = { repositoryId: stage.repository.id }
    const forget = async (dryRun: boolean): Promise<ForgetReport> => {
      const body = { rules: { keepLast: 2 }, dryRun }
      const { jobId } = await stage.admin.backups.forgetRestorePoints({ params, body })
      const job = await stage.finished(jobId)
      expect(job).toMatchObject({ state: 'succeeded', kind: 'forget', subjectId: stage.repository.id })
      return ForgetReport.parse(job.result)
    }
    expect(await forget(true)).toMatchObject({ isDryRun: true, keptCount: 2, removedCount: 1 })
    expect(await resticSnapshotIds()).toHaveLength(3)
    const report = await forget(false)
    expect(report.restorePoints.map(({ backupId, isKept }) => [backupId, isKept])).toEqual([
      [third.id, true],
      [second.id, true],
      [first.id, false],
    ])
    expect((await resticSnapshotIds()).sort()).toEqual([second.restorePointId, third.restorePointId].sort())
    const gone = await stage.admin.backups.getBackup({ params: { backupId: first.id } })
    expect(gone.status).toBe('forgotten')
    // The change ids of the ones that are left still serve.
    expect(await backUpChange('4')).toMatchObject({ mode: 'incremental', baseBackupId: third.id })
  })

  test('can be removed one by one, from the command line', async () => {
    const backup = await backUpChange('5')
    const cli = await CliSession.logIn(stage.hub)
    await cli.text('backup', 'delete', backup.id)
    expect(await resticSnapshotIds()).not.toContain(backup.restorePointId)
    const again = stage.admin.backups.verifyBackup({ params: { backupId: backup.id } })
    expect(await problemOf(again)).toMatchObject({ code: 'restore-point-missing' })
  })
})

describe('a repository', () => {
  test('is verified by structure and byte by byte', async () => {
    const params = { repositoryId: stage.repository.id }
    for (const scope of ['structure', 'all'] as const) {
      const { jobId } = await stage.admin.repositories.verifyRepository({ params, body: { scope } })
      const job = await stage.finished(jobId)
      expect(job).toMatchObject({ state: 'succeeded', result: { scope, problems: [] } })
      expect(job.result?.packs).toBeGreaterThan(0)
    }
  })

  test('that has reached its quota refuses more before it is harmed, and takes it when there is room', async () => {
    const params = { repositoryId: stage.repository.id }
    const { repositories } = stage.admin
    const { usedBytes } = await repositories.getRepositoryStorage({ params })
    await repositories.updateRepository({ params, body: { limits: { quotaBytes: usedBytes + 1000 } } })
    await stage.lab.control.write({ vm: vm.moRef, key: 2000 }, 4 * MIB, noise(8 * MIB, 'too much'))
    const failed = await stage.backUp(vm)
    expect(failed.status).toBe('failed')
    expect(failed.failure?.code).toBe('repository-quota-exceeded')
    await repositories.refreshAllStorage()
    expect((await repositories.getStorageSummary()).short).toMatchObject([
      { repositoryId: stage.repository.id, name: 'main' },
    ])
    expect(await restic(stage, 'check', '--read-data')).toContain('no errors were found')
    await repositories.updateRepository({ params, body: { limits: { quotaBytes: null } } })
    await stage.backUpWell(vm)
  })

  test('that holds restore points is not removed; detached, it comes back with its backups', async () => {
    const { repositories, backups } = stage.admin
    const params = { repositoryId: stage.repository.id }
    expect(await problemOf(repositories.deleteRepository({ params }))).toMatchObject({
      code: 'repository-in-use',
    })
    await repositories.deleteRepository({ params, query: { detach: 'true' } })
    expect(await problemOf(repositories.getRepository({ params }))).toMatchObject({ code: 'not-found' })
    expect(await readdir(stage.repository.path)).toContain('config')
    const { path, password } = stage.repository
    const { repository } = await repositories.createRepository({
      body: { name: 'again', place: { type: 'local', path }, existing: true, password },
    })
    expect(repository.id).toBe(stage.repository.id)
    const query = { vmId: vm.id, repositoryId: repository.id }
    const newest = (await backups.getBackupChain({ query })).backups.at(-1)
    expect(await backUpChange('6')).toMatchObject({ mode: 'incremental', baseBackupId: newest?.id })
  })

  test('that is turned off takes no backup, and says so', async () => {
    const params = { repositoryId: stage.repository.id }
    await stage.admin.repositories.updateRepository({ params, body: { isEnabled: false } })
    const body = { vmId: vm.id, repositoryId: stage.repository.id }
    expect(await problemOf(stage.admin.backups.startBackup({ body }))).toMatchObject({
      code: 'repository-disabled',
    })
    await stage.admin.repositories.updateRepository({ params, body: { isEnabled: true } })
    await stage.backUpWell(vm)
  })

  test('on a share that cannot be mounted is refused, with the words of the mount program', async () => {
    const place = { type: 'smb', server: '127.0.0.1', share: 'none', username: 'hub' } as const
    const password = 'the password of a share'
    const created = stage.admin.repositories.createRepository({
      body: { name: 'share', place: { ...place, password } },
    })
    const problem = await problemOf(created)
    expect(problem).toMatchObject({ code: 'mount-failed' })
    expect(JSON.stringify(problem) + stage.hub.program.log()).not.toContain(password)
    expect(await readdir(join(stage.hub.dataDir, 'mounts'))).toEqual([])
    expect((await stat(join(stage.hub.dataDir, 'mounts'))).mode & 0o777).toBe(0o700)
  })
})
