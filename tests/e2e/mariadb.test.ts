import { afterAll, beforeAll, expect, test } from 'vitest'
import { CliSession } from '../support/cli-session.ts'
import { type MariaDbServer, startMariaDb } from '../support/mariadb-server.ts'
import { noise } from '../support/noise.ts'
import { guestHashes, restoredHashes } from '../support/restored-disks.ts'
import { type Stage, startStage } from '../support/stage.ts'

const MIB = 1024 * 1024
const PASSWORD = 'the password of the database'

let mariadb: MariaDbServer
let stage: Stage
let cli: CliSession

beforeAll(async () => {
  mariadb = await startMariaDb()
  const databaseUrl = await mariadb.makeDatabase('hub', PASSWORD)
  stage = await startStage({
    lab: { vms: [{ name: 'db1', disks: [{ sizeBytes: 16 * MIB }], changeTracking: true }] },
    hub: { SENDENSE_HUB_DATABASE_URL: databaseUrl },
  })
  cli = await CliSession.logIn(stage.hub)
})
afterAll(async () => {
  await stage?.[Symbol.asyncDispose]()
  await mariadb?.[Symbol.asyncDispose]()
})

test('a Hub on MariaDB backs up, is killed, goes on where it was, and restores', async () => {
  const { backups, jobs, repositories } = stage.admin
  const vm = await stage.addVm('db1')
  const disk = { vm: vm.moRef, key: 2000 }
  await stage.lab.control.write(disk, MIB, noise(4 * MIB, 'first'))
  const full = await stage.backUpWell(vm)
  await stage.hub.killAndRestart()
  await stage.node.waitUntilConnected(stage.admin)

  await stage.lab.control.write(disk, 8 * MIB, noise(MIB, 'second'))
  const next = await stage.backUpWell(vm)
  expect(next).toMatchObject({ mode: 'incremental', baseBackupId: full.id, reasons: [] })
  expect(await restoredHashes(stage, next)).toEqual(await guestHashes(stage, vm, [2000]))
  const { jobId } = await backups.verifyBackup({ params: { backupId: full.id } })
  expect(await stage.finished(jobId)).toMatchObject({ state: 'succeeded' })
  expect((await backups.getBackup({ params: { backupId: full.id } })).verifiedAt).not.toBeNull()

  const { items } = await backups.listBackups({ query: { vmId: vm.id, limit: 1 } })
  expect(items.map(({ id }) => id)).toEqual([next.id])
  expect((await jobs.listJobs({ query: { limit: 200 } })).items.length).toBeGreaterThanOrEqual(4)
  expect(await cli.text('backup', 'list')).toContain('incremental')
  const params = { repositoryId: stage.repository.id }
  expect((await repositories.getRepository({ params })).name).toBe('main')
  for (const secret of [PASSWORD, encodeURIComponent(PASSWORD)]) {
    expect(stage.hub.program.log()).not.toContain(secret)
  }
})
