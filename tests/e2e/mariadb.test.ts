import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { waitFor } from '../support/child.ts'
import { CliSession } from '../support/cli-session.ts'
import { untilNothingLeft } from '../support/leftovers.ts'
import { type MariaDbServer, startMariaDb } from '../support/mariadb-server.ts'
import { noise } from '../support/noise.ts'
import { problemOf } from '../support/problem-of.ts'
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

test('while the database is away the Hub says so, and goes on when it is back', async () => {
  const { repositories } = stage.admin
  const params = { repositoryId: stage.repository.id }
  await mariadb.stop()
  for (let count = 0; count < 3; count++) {
    const problem = await problemOf(repositories.getRepository({ params }))
    expect(problem).toMatchObject({ code: 'database-unavailable' })
    await sleep(1000)
  }
  expect(stage.hub.program.hasEnded).toBe(false)
  await mariadb.start()
  expect((await repositories.getRepository({ params })).name).toBe('main')
  await stage.node.waitUntilConnected(stage.admin)
  const { items } = await stage.admin.inventory.listVms({ query: { limit: 1 } })
  const vm = items[0]
  if (!vm) throw new Error('There is no VM')
  expect(await stage.backUpWell(vm)).toMatchObject({ mode: 'incremental' })
})

test('a backup during which the database is away ends, and leaves nothing', async () => {
  const { items } = await stage.admin.inventory.listVms({ query: { limit: 1 } })
  const vm = items[0]
  if (!vm) throw new Error('There is no VM')
  await stage.lab.control.write({ vm: vm.moRef, key: 2000 }, 0, noise(8 * MIB, 'while it is away'))
  const slowly = { bytesPerSecondMax: 2 * MIB }
  await stage.admin.enrollment.updateNode({ params: { nodeId: stage.node.id }, body: slowly })
  const body = { vmId: vm.id, repositoryId: stage.repository.id }
  const { jobId, backupId } = await stage.admin.backups.startBackup({ body })
  const params = { params: { jobId } }
  await waitFor('the disk to be read', async () => {
    const { disks } = await stage.admin.jobs.getProgress(params)
    return disks.some(({ bytes }) => bytes.newBytes > 0) || undefined
  })
  await mariadb.stop()
  await sleep(3000)
  await mariadb.start()
  const end = await waitFor(
    'the job to end',
    async () => {
      const job = await stage.admin.jobs.getProgress(params)
      return job.finishedAt === null ? undefined : job
    },
    60_000,
  )
  const backup = await stage.admin.backups.getBackup({ params: { backupId } })
  expect(backup.status).toBe(end.state)
  await untilNothingLeft(stage)
  await stage.admin.enrollment.updateNode({
    params: { nodeId: stage.node.id },
    body: { bytesPerSecondMax: null },
  })
  const next = await stage.backUpWell(vm)
  expect(await restoredHashes(stage, next)).toEqual(await guestHashes(stage, vm, [2000]))
})
