import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { principalOf } from '@sendense/platform'
import { FakeClock, memoryLog } from '@sendense/platform/testing'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { SecretBox } from '../../platform/secrets/secret-box.ts'
import { fakeEngine } from '../../testing/fake-engine.ts'
import { type CreateRepository, RepositoriesService } from './repositories.service.ts'
import { RepositoriesMemoryStore } from './repositories.store.memory.ts'

const admin = principalOf({ id: '1', name: 'admin', role: 'administrator' })
let folder: string
let dataDir: string
let store: RepositoriesMemoryStore
let engine: ReturnType<typeof fakeEngine>
let log: ReturnType<typeof memoryLog>

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sendense-repo-'))
  dataDir = join(folder, 'data')
  await mkdir(dataDir)
  store = new RepositoriesMemoryStore()
  engine = fakeEngine()
  log = memoryLog()
})
afterEach(() => rm(folder, { recursive: true }))

function aService(key = 1): RepositoriesService {
  const secrets = new SecretBox(Buffer.alloc(32, key))
  return new RepositoriesService({ store, engine, secrets, dataDir, clock: new FakeClock(), log })
}

function create(service: RepositoriesService, request: Partial<CreateRepository> = {}) {
  const defaults = { name: 'main', type: 'local', chunkBytes: 1024 * 1024, existing: false } as const
  return service.create(admin, { ...defaults, path: join(folder, 'repo'), ...request })
}

test('a new repository gets a password that is shown once and kept sealed', async () => {
  const service = aService()
  const { repository, password } = await create(service)
  expect(password).toMatch(/^[\w-]{43}$/)
  expect(repository).toMatchObject({ name: 'main', path: join(folder, 'repo'), formatId: expect.any(String) })
  expect(JSON.stringify([repository, await store.listAll(), log.lines])).not.toContain(password)
  expect(await service.get(repository.id)).toEqual(repository)
})

test('after a restart all repositories are opened with their sealed passwords', async () => {
  const before = aService()
  const { repository } = await create(before)
  await before.close()
  expect(engine.openCount).toBe(0)
  const after = aService()
  await after.openAll()
  expect(engine.openCount).toBe(1)
  expect(await after.closedCount()).toBe(0)
  const opened = await after.open(repository.id)
  expect(opened).toMatchObject({ chunkBytes: 1024 * 1024, repository: { id: repository.formatId } })
  expect(engine.openCount).toBe(1)
})

test('many who open a repository at once share one', async () => {
  const before = aService()
  const { repository } = await create(before)
  await before.close()
  const service = aService()
  const opened = await Promise.all(Array.from({ length: 5 }, () => service.open(repository.id)))
  expect(new Set(opened.map(one => one.repository)).size).toBe(1)
  expect(engine.openCount).toBe(1)
})

test('a repository that cannot be opened is told, and works again when its place is back', async () => {
  const before = aService()
  const { repository } = await create(before)
  await before.close()
  const { rename } = await import('node:fs/promises')
  await rename(join(folder, 'repo'), join(folder, 'unmounted'))
  const service = aService()
  await service.openAll()
  expect(await service.closedCount()).toBe(1)
  await expect(service.open(repository.id)).rejects.toMatchObject({ code: 'repository-not-found' })
  await rename(join(folder, 'unmounted'), join(folder, 'repo'))
  await service.open(repository.id)
  expect(await service.closedCount()).toBe(0)
})

test('an existing repository is added with its password only', async () => {
  const path = join(folder, 'old')
  await engine.initRepository({ place: { type: 'local', path }, password: 'the old password' })
  const service = aService()
  await expect(create(service, { path, existing: true })).rejects.toMatchObject({
    code: 'request-invalid',
    errors: [{ pointer: '/body/password' }],
  })
  const wrong = create(service, { path, existing: true, password: 'another password' })
  await expect(wrong).rejects.toMatchObject({ code: 'repository-password-wrong' })
  const { password } = await create(service, { path, existing: true, password: 'the old password' })
  expect(password).toBeNull()
})

test('the same repository under another path is refused', async () => {
  const service = aService()
  const { password } = await create(service)
  await symlink(join(folder, 'repo'), join(folder, 'link'))
  const again = create(service, {
    name: 'b',
    path: join(folder, 'link'),
    existing: true,
    password: password ?? '',
  })
  await expect(again).rejects.toMatchObject({ code: 'repository-exists' })
})

test('a name that is taken is refused before anything is made', async () => {
  const service = aService()
  await create(service)
  const path = join(folder, 'another')
  await expect(create(service, { path })).rejects.toMatchObject({ code: 'conflict' })
  expect(await readdir(folder)).not.toContain('another')
})

test('of two at once with the same name one is made', async () => {
  const service = aService()
  const both = [create(service), create(service, { path: join(folder, 'b') })]
  expect((await Promise.allSettled(both)).map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
})

test.each([
  ['the data directory', 'data'],
  ['a folder around the data directory', ''],
  ['a folder inside the data directory', 'data/keys'],
  ['a link into the data directory', 'link/x'],
])('%s is no place for a repository', async (_name, path) => {
  await symlink(dataDir, join(folder, 'link'))
  await expect(create(aService(), { path: join(folder, path) })).rejects.toMatchObject({
    code: 'request-invalid',
    errors: [{ pointer: '/body/path' }],
  })
})

test('the folder for repositories in the data directory is one', async () => {
  await create(aService(), { path: join(dataDir, 'repositories', 'main') })
})

test.each(['/a/../b', '/a/./b', '/a//b', '/a/'])('the path %s is refused', async path => {
  await expect(create(aService(), { path })).rejects.toMatchObject({ code: 'request-invalid' })
})

test('a folder that holds something is left as it is', async () => {
  const path = join(folder, 'photos')
  await mkdir(path)
  await writeFile(join(path, 'one.jpg'), 'x')
  await expect(create(aService(), { path })).rejects.toMatchObject({ code: 'request-invalid' })
  expect(await readdir(path)).toEqual(['one.jpg'])
})

test('a folder that holds a repository is told apart', async () => {
  const path = join(folder, 'old')
  await engine.initRepository({ place: { type: 'local', path }, password: 'x' })
  await expect(create(aService(), { path })).rejects.toMatchObject({ code: 'repository-exists' })
})

test('a place inside or around another repository is refused', async () => {
  const service = aService()
  await create(service, { path: join(folder, 'a', 'repo') })
  for (const path of [join(folder, 'a', 'repo', 'inner'), join(folder, 'a')]) {
    await expect(create(service, { name: 'b', path })).rejects.toMatchObject({ code: 'repository-exists' })
  }
})

test('a file in the way is told', async () => {
  await writeFile(join(folder, 'file'), '')
  await expect(create(aService(), { path: join(folder, 'file') })).rejects.toMatchObject({
    code: 'request-invalid',
  })
  await expect(create(aService(), { path: join(folder, 'file', 'x') })).rejects.toMatchObject({
    code: 'repository-unavailable',
  })
})

test('a folder that cannot be written is told', async () => {
  // Not even root may make a folder there.
  await expect(create(aService(), { path: '/proc/self/repository' })).rejects.toMatchObject({
    code: 'repository-unavailable',
  })
})

test('storage counts what the restore points say about their disks, and reads each once', async () => {
  const service = aService()
  const { repository } = await create(service)
  const opened = await service.open(repository.id)
  let readCount = 0
  const info = { time: new Date(), hostname: 'db1', tags: [] }
  Object.assign(opened.repository, {
    restorePoints: async () => [
      { ...info, id: 'a', paths: ['vm.json', 'disk-2000.raw'] },
      { ...info, id: 'b', paths: ['home/of/somebody'] },
    ],
    readText: async () => {
      readCount++
      return JSON.stringify({ disks: [{ sizeBytes: 70 }, { sizeBytes: 7 }] })
    },
  })
  for (let i = 0; i < 2; i++) {
    expect(await service.storage(repository.id)).toMatchObject({
      usedBytes: 100,
      logicalBytes: 77,
      restorePointCount: 2,
    })
  }
  expect(readCount).toBe(1)
})
