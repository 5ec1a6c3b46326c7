import type { Backup, RepositoryId, Vm } from '@sendense/contracts'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type AzureServer, startAzureServer } from '../support/azure-server.ts'
import { noise } from '../support/noise.ts'
import { problemOf } from '../support/problem-of.ts'
import { type RepositoryServer, startRepositoryServer } from '../support/repository-server.ts'
import { type ResticRepository, restic } from '../support/restic.ts'
import { guestHashes, restoredHashes } from '../support/restored-disks.ts'
import { type S3Server, startS3Server } from '../support/s3-server.ts'
import { type SshServer, startSshServer } from '../support/ssh-server.ts'
import { type Stage, startStage } from '../support/stage.ts'

const MIB = 1024 * 1024
const DAY_MS = 24 * 60 * 60 * 1000

let server: S3Server
let azure: AzureServer
let vault: RepositoryServer
let ssh: SshServer
let stage: Stage
let vm: Vm

beforeAll(async () => {
  server = await startS3Server()
  await server.makeBucket('locked', { locked: true })
  await server.makeBucket('plain')
  azure = await startAzureServer()
  await azure.makeContainer('backups')
  vault = await startRepositoryServer()
  ssh = await startSshServer()
  stage = await startStage({ lab: { vms: [{ name: 'db1', disks: [{ sizeBytes: 16 * MIB }] }] } })
  vm = await stage.addVm('db1')
  // The repository server is compiled first, unless that was done before.
}, 900_000)
afterAll(async () => {
  await stage?.[Symbol.asyncDispose]()
  await server?.[Symbol.asyncDispose]()
  await azure?.[Symbol.asyncDispose]()
  await vault?.[Symbol.asyncDispose]()
  await ssh?.[Symbol.asyncDispose]()
})

function place(bucket: string, changed: { endpoint?: string; secretAccessKey?: string } = {}) {
  const { endpoint, region, accessKeyId, secretAccessKey } = server
  return { type: 's3', endpoint, region, bucket, accessKeyId, secretAccessKey, ...changed } as const
}

const objectLock = { mode: 'governance', days: 1 } as const

test('what is wrong with a bucket is told by its code before anything is made', async () => {
  const { repositories } = stage.admin
  const wrong = [
    [place('plain', { secretAccessKey: 'not the secret' }), 'storage-credentials-wrong'],
    [place('plain', { endpoint: 'http://127.0.0.1:1' }), 'storage-unreachable'],
    [place('plain', { endpoint: server.endpoint.replace('http:', 'https:') }), 'storage-unreachable'],
    [place('none'), 'storage-container-missing'],
    [{ ...place('plain'), objectLock }, 'storage-object-lock-missing'],
  ] as const
  for (const [one, code] of wrong) {
    const problem = await problemOf(repositories.testRepositoryPlace({ body: { place: one } }))
    expect(problem).toMatchObject({ code })
    expect(problem.detail).not.toContain(one.secretAccessKey)
  }
  const created = repositories.createRepository({ body: { name: 'wrong', place: place('none') } })
  expect(await problemOf(created)).toMatchObject({ code: 'storage-container-missing' })
  expect((await repositories.listRepositories({})).items.map(({ name }) => name)).toEqual(['main'])
})

test('a bucket that fits says what it can do', async () => {
  const body = { place: { ...place('locked'), objectLock } }
  expect(await stage.admin.repositories.testRepositoryPlace({ body })).toMatchObject({
    ...{ isRepository: false, isEmpty: true, totalBytes: null, freeBytes: null },
    objectLock: { enabled: true },
  })
})

test('a VM is backed up to a bucket, restored from it, and protected there until a date', async () => {
  const { repositories, backups } = stage.admin
  const created = await repositories.createRepository({
    body: { name: 'bucket', place: { ...place('locked'), prefix: 'hub/one', objectLock } },
  })
  const { id } = created.repository
  expect(JSON.stringify(created.repository)).not.toContain(server.secretAccessKey)
  await stage.lab.control.write({ vm: vm.moRef, key: 2000 }, 0, noise(3 * MIB, 'first'))
  const full = await stage.backUpWell(vm, { repositoryId: id })
  await stage.lab.control.write({ vm: vm.moRef, key: 2000 }, 8 * MIB, noise(MIB, 'second'))
  const incremental = await stage.backUpWell(vm, { repositoryId: id })
  expect(incremental).toMatchObject({ mode: 'incremental', baseBackupId: full.id })
  expect(await restoredHashes(stage, incremental)).toEqual(await guestHashes(stage, vm, [2000]))

  await isRefusedFor(objectLock.days, full)
  const forgotten = await backups.forgetRestorePoints({
    ...{ params: { repositoryId: id }, body: { rules: { keepLast: 1 } } },
  })
  expect((await stage.finished(forgotten.jobId)).result).toMatchObject({ removedCount: 0, keptCount: 2 })

  const bucket = resticBucket(created.password)
  expect(await restic({ hub: stage.hub, repository: bucket }, 'check', '--read-data')).toContain(
    'no errors were found',
  )
  await isPrunedOfNothing(id)
})

async function isRefusedFor(days: number, backup: Backup): Promise<void> {
  const params = { backupId: backup.id }
  const { protectedUntil } = await stage.admin.backups.getBackup({ params })
  const until = new Date(protectedUntil ?? 0).getTime()
  expect(until).toBeGreaterThan(new Date(backup.startedAt).getTime() + days * DAY_MS)
  const problem = await problemOf(stage.admin.backups.deleteBackup({ params }))
  expect(problem.code).toBe('storage-protected')
  expect(problem.detail).toContain(protectedUntil)
}

async function isPrunedOfNothing(repositoryId: RepositoryId): Promise<void> {
  const { repositories } = stage.admin
  const { jobId } = await repositories.pruneRepository({
    params: { repositoryId },
    body: { exclusive: true },
  })
  expect(await stage.finished(jobId)).toMatchObject({
    state: 'succeeded',
    result: { restorePoints: 2, deleted: { packs: 0 }, missingChunks: 0 },
  })
}

test('a changed password of a protected repository counts, and the old key is told with its date', async () => {
  const { repositories } = stage.admin
  const [bucket] = (await repositories.listRepositories({})).items.filter(({ name }) => name === 'bucket')
  if (!bucket) throw new Error('There is no repository in the bucket')
  const params = { repositoryId: bucket.id }
  const [old] = (await repositories.listRepositoryKeys({ params })).keys
  for (const password of ['the second password', 'the third password']) {
    const { keptKey } = await repositories.changeRepositoryPassword({ params, body: { password } })
    expect(Date.parse(keptKey?.protectedUntil ?? '')).toBeGreaterThan(Date.now())
    if (password.includes('second')) expect(keptKey?.id).toBe(old?.id)
  }
  const { keys } = await repositories.listRepositoryKeys({ params })
  expect(keys.map(key => [key.isCurrent, key.isSuperseded])).toEqual([
    [false, true],
    [false, true],
    [true, false],
  ])
  await stage.hub.killAndRestart()
  await stage.node.waitUntilConnected(stage.admin)
  await stage.backUpWell(vm, { repositoryId: bucket.id })
})

test('new keys of a bucket are taken when they open the repository, and not before', async () => {
  const { repositories } = stage.admin
  const found = (await repositories.listRepositories({ query: { type: 's3' } })).items.at(0)
  if (!found) throw new Error('There is no repository in a bucket')
  const params = { repositoryId: found.id }
  const change = (secretAccessKey: string) =>
    repositories.updateRepository({ params, body: { credentials: { type: 's3', secretAccessKey } } })
  expect(await problemOf(change('not the secret'))).toMatchObject({ code: 'storage-credentials-wrong' })
  await change(server.secretAccessKey)
  await stage.backUpWell(vm, { repositoryId: found.id })
})

function resticBucket(password: string | null): ResticRepository {
  return {
    path: `s3:${server.endpoint}/locked/hub/one`,
    password: password ?? '',
    env: { AWS_ACCESS_KEY_ID: server.accessKeyId, AWS_SECRET_ACCESS_KEY: server.secretAccessKey },
  }
}

describe('a container of Azure Blob Storage', () => {
  const address = (
    changed: { endpoint?: string; accountKey?: string; container?: string; prefix?: string } = {},
  ) => {
    const { endpoint, account, accountKey } = azure
    return { type: 'azure', endpoint, account, accountKey, container: 'backups', ...changed } as const
  }

  test('that is not there, or does not know us, is told apart', async () => {
    const wrong = [
      [address({ accountKey: 'd3Jvbmcta2V5' }), 'storage-credentials-wrong'],
      [address({ endpoint: 'http://127.0.0.1:1/owner' }), 'storage-unreachable'],
      [address({ container: 'none' }), 'storage-container-missing'],
    ] as const
    for (const [place, code] of wrong) {
      const problem = await problemOf(stage.admin.repositories.testRepositoryPlace({ body: { place } }))
      expect(problem).toMatchObject({ code })
      expect(problem.detail).not.toContain(place.accountKey)
    }
    expect(await stage.admin.repositories.testRepositoryPlace({ body: { place: address() } })).toMatchObject({
      ...{ isRepository: false, isEmpty: true, totalBytes: null, freeBytes: null, objectLock: null },
    })
  })

  test('takes backups and new keys, gives back what it took, and is pruned', async () => {
    const { repositories, backups } = stage.admin
    const place = address({ prefix: 'hub/one' })
    const created = await repositories.createRepository({ body: { name: 'azure', place } })
    const { id } = created.repository
    expect(JSON.stringify(created)).not.toContain(azure.accountKey)
    const full = await stage.backUpWell(vm, { repositoryId: id })
    await stage.lab.control.write({ vm: vm.moRef, key: 2000 }, 2 * MIB, noise(MIB, 'to azure'))
    const incremental = await stage.backUpWell(vm, { repositoryId: id })
    expect(incremental).toMatchObject({ mode: 'incremental', baseBackupId: full.id })
    expect(await restoredHashes(stage, incremental)).toEqual(await guestHashes(stage, vm, [2000]))

    const change = (accountKey: string) =>
      repositories.updateRepository({
        ...{ params: { repositoryId: id }, body: { credentials: { type: 'azure', accountKey } } },
      })
    expect(await problemOf(change('d3Jvbmcta2V5'))).toMatchObject({ code: 'storage-credentials-wrong' })
    await change(azure.accountKey)
    await backups.deleteBackup({ params: { backupId: full.id } })
    const { jobId } = await repositories.pruneRepository({
      ...{ params: { repositoryId: id }, body: { exclusive: true } },
    })
    expect(await stage.finished(jobId)).toMatchObject({ state: 'succeeded', result: { restorePoints: 1 } })
    const verified = await backups.verifyBackup({ params: { backupId: incremental.id } })
    expect(await stage.finished(verified.jobId)).toMatchObject({ state: 'succeeded' })
  })
})

describe('a repository server', () => {
  const address = (changed: { password?: string; certificateSha256?: string } = {}) => {
    const { url, username, password, certificateSha256 } = vault
    return { type: 'rest', url, username, password, certificateSha256, ...changed } as const
  }

  test('that shows another certificate, or does not know us, is told apart', async () => {
    const { repositories } = stage.admin
    const codeOf = async (place: ReturnType<typeof address>) => {
      const { code, detail } = await problemOf(repositories.testRepositoryPlace({ body: { place } }))
      expect(detail).not.toContain(place.password)
      return code
    }
    expect(await codeOf(address({ password: 'not the password' }))).toBe('storage-credentials-wrong')
    expect(await codeOf(address({ certificateSha256: 'a'.repeat(64) }))).toBe('storage-certificate-untrusted')
    expect(await repositories.testRepositoryPlace({ body: { place: address() } })).toMatchObject({
      ...{ isRepository: false, isEmpty: true, objectLock: { enabled: true, days: 30 } },
    })
  })

  test('takes backups, gives them back, and lets nobody remove them before their time', async () => {
    const created = await stage.admin.repositories.createRepository({
      body: { name: 'vault', place: address() },
    })
    const { id } = created.repository
    expect(JSON.stringify(created.repository)).not.toContain(vault.password)
    const backup = await stage.backUpWell(vm, { repositoryId: id })
    expect(await restoredHashes(stage, backup)).toEqual(await guestHashes(stage, vm, [2000]))
    await isRefusedFor(30, backup)
    const repository = resticVault(created.password)
    expect(
      await restic({ hub: stage.hub, repository }, '--cacert', vault.certificatePath, 'check', '--read-data'),
    ).toContain('no errors were found')
  })
})

function resticVault(password: string | null): ResticRepository {
  const url = new URL(vault.url)
  url.username = vault.username
  url.password = vault.password
  return { path: `rest:${url}`, password: password ?? '' }
}

describe('a folder of an SSH server', () => {
  const address = (
    changed: Partial<Pick<SshServer, 'hostKey' | 'privateKeyPem' | 'port'>> & { path?: string } = {},
  ) => {
    const { port, username, folder, hostKey, privateKeyPem } = ssh
    return {
      type: 'sftp',
      host: '127.0.0.1',
      port,
      username,
      path: folder,
      hostKey,
      privateKeyPem,
      ...changed,
    } as const
  }

  test('that is not the one meant, or does not let us in, is told apart', async () => {
    const wrong = [
      [address({ hostKey: ssh.otherHostKey }), 'storage-host-key-mismatch'],
      [address({ privateKeyPem: ssh.otherPrivateKeyPem }), 'storage-credentials-wrong'],
      [address({ port: 1 }), 'storage-unreachable'],
      [address({ path: `${ssh.folder}/none` }), 'storage-container-missing'],
      [address({ path: '/usr' }), 'storage-permission-missing'],
    ] as const
    for (const [place, code] of wrong) {
      const problem = await problemOf(stage.admin.repositories.testRepositoryPlace({ body: { place } }))
      expect(problem).toMatchObject({ code })
      expect(JSON.stringify(problem)).not.toContain('PRIVATE KEY')
    }
  })

  test('takes backups and gives them back, and stock restic finds them whole', async () => {
    const { repositories, backups } = stage.admin
    const created = await repositories.createRepository({ body: { name: 'ssh', place: address() } })
    const { id } = created.repository
    expect(JSON.stringify(created)).not.toContain('PRIVATE KEY')
    const full = await stage.backUpWell(vm, { repositoryId: id })
    await stage.lab.control.write({ vm: vm.moRef, key: 2000 }, 4 * MIB, noise(MIB, 'over ssh'))
    const incremental = await stage.backUpWell(vm, { repositoryId: id })
    expect(incremental).toMatchObject({ mode: 'incremental', baseBackupId: full.id })
    expect(await restoredHashes(stage, incremental)).toEqual(await guestHashes(stage, vm, [2000]))
    const { jobId } = await backups.verifyBackup({ params: { backupId: full.id } })
    expect(await stage.finished(jobId)).toMatchObject({ state: 'succeeded' })
    const repository = { path: ssh.folder, password: created.password ?? '' }
    expect(await restic({ hub: stage.hub, repository }, 'check', '--read-data')).toContain(
      'no errors were found',
    )
  })
})
