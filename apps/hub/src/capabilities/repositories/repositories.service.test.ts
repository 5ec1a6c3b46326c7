import { mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type CreateRepositoryRequest,
  JobId,
  NO_LIMITS,
  RepositoryId,
  type UpdateRepositoryRequest,
} from '@sendense/contracts'
import { EngineError, type EngineErrorCode } from '@sendense/engine'
import { newId, principalOf } from '@sendense/platform'
import { FakeClock, memoryLog } from '@sendense/platform/testing'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { SecretBox } from '../../platform/secrets/secret-box.ts'
import { fakeEngine } from '../../testing/fake-engine.ts'
import { createRepositories, type Repositories } from './create-repositories.ts'
import type { RepositoriesService } from './repositories.service.ts'
import { RepositoriesMemoryStore } from './repositories.store.memory.ts'
import { recordOf } from './unfinished-repository.ts'

const admin = principalOf({ id: '1', name: 'admin', role: 'administrator' })
const SECRET = 'a secret of the place'
const DAY_MS = 24 * 60 * 60 * 1000
let folder: string
let dataDir: string
let store: RepositoriesMemoryStore
let engine: ReturnType<typeof fakeEngine>
let clock: FakeClock
let log: ReturnType<typeof memoryLog>
let unfinished: { kind: string; input: unknown }[]
let started: { kind: string; lockKey?: string; input: unknown }[]

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sendense-repo-'))
  dataDir = join(folder, 'data')
  await mkdir(dataDir)
  store = new RepositoriesMemoryStore()
  engine = fakeEngine()
  clock = new FakeClock()
  log = memoryLog()
  unfinished = []
  started = []
})
afterEach(() => rm(folder, { recursive: true }))

function aService(): RepositoriesService {
  return capability().service
}

function capability(key = 1): Repositories {
  const jobs = {
    define: () => undefined,
    start: async (job: (typeof started)[number]) => {
      started.push(job)
      return JobId.parse(newId())
    },
    listUnfinished: async () => unfinished as never,
  }
  const secrets = new SecretBox(Buffer.alloc(32, key))
  return createRepositories({ store, engine, secrets, jobs, dataDir, clock, log })
}

type Request = Partial<CreateRepositoryRequest> & { path?: string }

function create(service: RepositoriesService, { path = join(folder, 'repo'), ...request }: Request = {}) {
  const defaults = { name: 'main', chunkBytes: 1024 * 1024, existing: false, limits: {} } as const
  return service.create(admin, { ...defaults, place: { type: 'local', path }, ...request })
}

/** A bucket of the fake engine: the folder of its prefix. */
function aBucket(overrides: object = {}): CreateRepositoryRequest['place'] {
  const prefix = join(folder, 'bucket').slice(1)
  return {
    ...{ type: 's3', endpoint: 'https://s3.example', region: 'r', bucket: 'b', prefix },
    ...{ accessKeyId: 'id', secretAccessKey: SECRET, virtualHosted: false, ...overrides },
  }
}

test('a new repository gets a password that is shown once and kept sealed', async () => {
  const service = aService()
  const { repository, password } = await create(service)
  expect(password).toMatch(/^[\w-]{43}$/)
  expect(repository).toMatchObject({
    name: 'main',
    place: { type: 'local', path: join(folder, 'repo') },
    formatId: expect.any(String),
  })
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

describe('a repository whose making is interrupted', () => {
  const dies = () => Promise.reject(new Error('The process is gone'))

  /** A Hub that dies after the repository was made, before it has the record. */
  async function die(): Promise<void> {
    const { finish } = store
    store.finish = dies
    const before = aService()
    await expect(create(before)).rejects.toThrow('The process is gone')
    await before.close()
    store.finish = finish
    expect([await store.listAll(), (await store.listUnfinished()).length]).toEqual([[], 1])
  }

  test('is there after the next start, with its password', async () => {
    await die()
    const after = aService()
    await after.openAll()
    const [record] = await store.listAll()
    expect(record).toMatchObject({ name: 'main', chunkBytes: 1024 * 1024, isEnabled: true })
    expect(await store.listUnfinished()).toEqual([])
    await after.close()
    await after.openAll()
    expect(await after.closedCount()).toBe(0)
  })

  test('is met by the next attempt to make it', async () => {
    await die()
    await expect(create(aService())).rejects.toMatchObject({ code: 'conflict' })
    expect((await store.listAll()).map(({ name }) => name)).toEqual(['main'])
  })

  test('gets another name when its own was taken meanwhile', async () => {
    await die()
    const { openRepository } = engine
    engine.openRepository = async () => Promise.reject(new EngineError('storage-unreachable', 'It is away'))
    const service = aService()
    await create(service, { path: join(folder, 'another') })
    engine.openRepository = openRepository
    await service.openAll()
    const names = (await store.listAll()).map(({ name }) => name)
    expect(names).toEqual(['main', expect.stringMatching(/^main [0-9a-f-]{36}$/)])
  })

  test('waits while its place is away', async () => {
    await die()
    const { openRepository } = engine
    engine.openRepository = async () => Promise.reject(new EngineError('storage-unreachable', 'It is away'))
    await aService().openAll()
    expect(await store.listUnfinished()).toHaveLength(1)
    engine.openRepository = openRepository
    await aService().openAll()
    expect(await store.listAll()).toHaveLength(1)
  })

  test('keeps its password while nothing is found, or somebody else’s: a disk may not be mounted yet', async () => {
    await die()
    const path = join(folder, 'repo')
    await rename(path, join(folder, 'unmounted'))
    await aService().openAll()
    await mkdir(path)
    await aService().openAll()
    expect(await readdir(path)).toEqual([])
    await rm(path, { recursive: true })
    const other = await engine.initRepository({
      place: { type: 'local', path },
      password: 'of somebody else',
    })
    await other.close()
    await aService().openAll()
    expect([await store.listAll(), (await store.listUnfinished()).length]).toEqual([[], 1])
    await rm(path, { recursive: true })
    await rename(join(folder, 'unmounted'), path)
    await aService().openAll()
    expect((await store.listAll()).map(({ name }) => name)).toEqual(['main'])
    expect(await store.listUnfinished()).toEqual([])
  })

  test('that has left a key and nothing else is made anew, and its old password is given up', async () => {
    const { initRepository } = engine
    for (const place of [{ type: 'local', path: join(folder, 'repo') } as const, aBucket()]) {
      const root = place.type === 'local' ? place.path : join(folder, 'bucket')
      engine.initRepository = async () => {
        await mkdir(join(root, 'keys'), { recursive: true })
        await writeFile(join(root, 'keys', 'ab'.repeat(32)), 'a key')
        throw new Error('The process is gone')
      }
      await expect(create(aService(), { name: place.type, place })).rejects.toThrow('The process is gone')
      engine.initRepository = initRepository
      expect(await store.listUnfinished()).toHaveLength(1)
      const { repository } = await create(aService(), { name: place.type, place })
      expect((await store.listAll()).map(({ id }) => id)).toContain(repository.id)
      expect(await store.listUnfinished()).toEqual([])
    }
  })

  test('makes no room for itself where somebody has put something since', async () => {
    const { initRepository } = engine
    engine.initRepository = dies
    await expect(create(aService())).rejects.toThrow('The process is gone')
    engine.initRepository = initRepository
    await mkdir(join(folder, 'repo'))
    await writeFile(join(folder, 'repo', 'letters.txt'), 'mine')
    await expect(create(aService())).rejects.toMatchObject({ code: 'request-invalid' })
    expect(await store.listUnfinished()).toHaveLength(1)
  })

  test('is waited for as long as nobody gives it up, and the Hub says how', async () => {
    engine.initRepository = dies
    await expect(create(aService())).rejects.toThrow('The process is gone')
    await clock.advance(400 * DAY_MS)
    const service = aService()
    await service.openAll()
    const [begun] = await store.listUnfinished()
    const id = begun?.id ?? RepositoryId.parse(newId())
    expect(JSON.stringify(log.lines)).toContain(`sendense repository remove ${id}`)
    await service.remove(admin, id, { detach: false })
    expect(await store.listUnfinished()).toEqual([])
    await expect(service.remove(admin, id, { detach: false })).rejects.toMatchObject({ code: 'not-found' })
  })

  test('is not given up unseen: when it is there after all, it is removed like all others', async () => {
    await die()
    const id = (await store.listUnfinished())[0]?.id ?? RepositoryId.parse(newId())
    const { openRepository } = engine
    engine.openRepository = async () => Promise.reject(new EngineError('storage-unreachable', 'It is away'))
    const service = aService()
    await expect(service.remove(admin, id, { detach: false })).rejects.toMatchObject({
      code: 'repository-unavailable',
    })
    expect(await store.listUnfinished()).toHaveLength(1)
    engine.openRepository = async location => ({
      ...(await openRepository(location)),
      restorePointIds: async () => ['a'],
    })
    await expect(service.remove(admin, id, { detach: false })).rejects.toMatchObject({
      code: 'repository-in-use',
    })
    expect([await store.listUnfinished(), (await store.listAll()).length]).toEqual([[], 1])
  })

  test('is given up when the repository at its place is in the list already', async () => {
    await die()
    const [begun] = await store.listUnfinished()
    if (!begun) throw new Error('None was begun')
    const { id: formatId } = JSON.parse(await readFile(join(folder, 'repo', 'config'), 'utf8'))
    await store.add({ ...recordOf(begun, formatId), id: RepositoryId.parse(newId()), name: 'another' })
    await aService().remove(admin, begun.id, { detach: false })
    expect([await store.listUnfinished(), (await store.listAll()).length]).toEqual([[], 1])
  })

  test('is given up with a place that is gone for good', async () => {
    await die()
    const id = (await store.listUnfinished())[0]?.id ?? RepositoryId.parse(newId())
    engine.openRepository = async () => Promise.reject(new EngineError('storage-unreachable', 'It is away'))
    await aService().remove(admin, id, { detach: true })
    expect([await store.listUnfinished(), await store.listAll()]).toEqual([[], []])
  })

  test('is in nobody’s way when nothing was made, and its place can be used', async () => {
    const { initRepository } = engine
    engine.initRepository = dies
    await expect(create(aService())).rejects.toThrow('The process is gone')
    engine.initRepository = initRepository
    await aService().openAll()
    const { repository } = await create(aService())
    expect((await store.listAll()).map(({ id }) => id)).toEqual([repository.id])
  })

  test('does not keep the Hub from starting when it cannot be asked for', async () => {
    store.listUnfinished = dies
    await aService().openAll()
    expect(log.lines.map(line => JSON.stringify(line)).join()).toContain('cannot be looked for')
  })

  test('is there although the answer was lost', async () => {
    const { initRepository } = engine
    engine.initRepository = async location => {
      await (await initRepository(location)).close()
      throw new EngineError('storage-unreachable', 'The answer was lost')
    }
    const service = aService()
    const { repository, password } = await create(service)
    expect(password).toMatch(/^[\w-]{43}$/)
    expect(await service.open(repository.id)).toMatchObject({ repository: { id: repository.formatId } })
    expect(await store.listUnfinished()).toEqual([])
  })

  test('leaves no trace when it fails before there is anything', async () => {
    engine.initRepository = async () => Promise.reject(new EngineError('storage-permission-missing', 'No'))
    const service = aService()
    await expect(create(service)).rejects.toMatchObject({ code: 'storage-permission-missing' })
    expect([await store.listAll(), await store.listUnfinished()]).toEqual([[], []])
    expect(await readdir(folder)).not.toContain('repo')
  })
})

test('one in which nothing can be stored is open to be read, and says why to who wants to store', async () => {
  const before = aService()
  const { repository } = await create(before)
  await before.close()
  const locked = () => Promise.reject(new EngineError('repository-locked', 'Somebody holds a lock'))
  let adoptOrphans: () => Promise<{ packs: number; chunks: number }> = locked
  const { openRepository } = engine
  engine.openRepository = async location => ({
    ...(await openRepository(location)),
    adoptOrphans: () => adoptOrphans(),
  })
  const service = aService()
  await service.openAll()
  expect(await service.closedCount()).toBe(0)
  const opened = await service.open(repository.id)
  await expect(service.openToWrite(repository.id)).rejects.toMatchObject({ code: 'repository-locked' })
  adoptOrphans = async () => ({ packs: 2, chunks: 3 })
  expect(await service.openToWrite(repository.id)).toEqual(opened)
  adoptOrphans = locked
  expect(await service.openToWrite(repository.id)).toEqual(opened)
})

test('one that is not open does not pass for one that protects nothing', async () => {
  const before = aService()
  const { repository } = await create(before)
  expect(await before.protectedUntil(repository.id, 'a point')).toBeNull()
  await before.close()
  const asked = aService().protectedUntil(repository.id, 'a point')
  await expect(asked).rejects.toMatchObject({ code: 'repository-unavailable' })
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
    errors: [{ pointer: '/body/place/path' }],
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

describe('a place elsewhere', () => {
  test('is tried out first, and its secret is sealed and never shown', async () => {
    const service = aService()
    const { repository } = await create(service, { place: aBucket() })
    expect(repository).toMatchObject({ type: 's3', place: { bucket: 'b', accessKeyId: 'id' } })
    const seen = JSON.stringify([
      repository,
      await service.list({ limit: 9 }),
      await store.listAll(),
      log.lines,
    ])
    expect(seen).not.toContain(SECRET)
    await service.close()
    const after = aService()
    await after.openAll()
    expect(await after.closedCount()).toBe(0)
  })

  test('with something else in it is left alone', async () => {
    const service = aService()
    await mkdir(join(folder, 'bucket'))
    await writeFile(join(folder, 'bucket', 'one.jpg'), '')
    await expect(create(service, { place: aBucket() })).rejects.toMatchObject({
      code: 'repository-not-empty',
    })
    await writeFile(join(folder, 'bucket', 'config'), '{}')
    await expect(create(service, { place: aBucket() })).rejects.toMatchObject({ code: 'repository-exists' })
  })

  test('without the object lock that was asked for is refused', async () => {
    const objectLock = { mode: 'compliance', days: 7 } as const
    const service = aService()
    await expect(create(service, { place: aBucket({ objectLock }) })).rejects.toMatchObject({
      code: 'storage-object-lock-missing',
    })
    const { repository } = await create(service, { place: aBucket({ objectLock, bucket: 'locked' }) })
    expect(repository.place).toMatchObject({ objectLock })
  })

  test('that cannot be mounted says what the mount program said, and leaves nothing', async () => {
    const place = { type: 'nfs', server: '127.0.0.1', exportPath: '/x', version: '4.1', folder: 'f' } as const
    await expect(create(aService(), { place })).rejects.toMatchObject({ code: 'mount-failed' })
    await expect(aService().testPlace(place)).rejects.toMatchObject({ code: 'mount-failed' })
    expect(await readdir(join(dataDir, 'mounts'))).toEqual([])
    expect(await store.listAll()).toEqual([])
  })

  test('can be tried out alone, and nothing is made', async () => {
    const service = aService()
    expect(await service.testPlace(aBucket())).toMatchObject({
      isEmpty: true,
      objectLock: { enabled: false },
    })
    const path = join(folder, 'local')
    expect(await service.testPlace({ type: 'local', path })).toMatchObject({ isEmpty: true, freeBytes: 900 })
    const inside = service.testPlace({ type: 'local', path: join(dataDir, 'keys') })
    await expect(inside).rejects.toMatchObject({ code: 'request-invalid' })
    expect(await store.listAll()).toEqual([])
  })
})

describe('a change', () => {
  test('of name and limits is kept, and the repository is opened with them again', async () => {
    const service = aService()
    const { repository } = await create(service, { limits: { quotaBytes: 1000 } })
    const { id } = repository
    expect(repository.limits).toEqual({ ...NO_LIMITS, quotaBytes: 1000 })
    const before = (await service.open(id)).repository
    const limits = { readBytesPerSecondMax: 100_000, quotaBytes: null }
    const changed = await service.update(admin, id, { name: 'new', limits })
    expect(changed).toMatchObject({ name: 'new', limits: { ...NO_LIMITS, readBytesPerSecondMax: 100_000 } })
    // It is opened again at once: nobody has to use it for the Hub to be healthy.
    await expect.poll(async () => [engine.openCount, await service.closedCount()]).toEqual([1, 0])
    expect((await service.open(id)).repository).not.toBe(before)
  })

  test('of credentials is tried out before it is kept', async () => {
    const service = aService()
    const { repository } = await create(service, { place: aBucket() })
    const change = (credentials: NonNullable<UpdateRepositoryRequest['credentials']>) =>
      service.update(admin, repository.id, { credentials })
    const changed = await change({ type: 's3', accessKeyId: 'new', secretAccessKey: 'another secret' })
    expect(changed.place).toMatchObject({ bucket: 'b', accessKeyId: 'new' })
    await expect.poll(() => engine.openCount).toBe(1)
    await expect(change({ type: 'rest', password: 'x' })).rejects.toMatchObject({ code: 'request-invalid' })
    await rm(join(folder, 'bucket'), { recursive: true })
    await expect(change({ type: 's3', secretAccessKey: 'x' })).rejects.toMatchObject({
      code: 'repository-not-found',
    })
    expect((await store.get(repository.id))?.place).toMatchObject({ accessKeyId: 'new' })
  })

  test('of more than the name waits for the jobs that use the repository', async () => {
    const service = aService()
    const { id } = (await create(service)).repository
    unfinished = [{ kind: 'copy', input: { targetRepositoryId: id } }]
    const inUse = { code: 'repository-in-use', message: expect.stringContaining('copy') }
    await expect(service.update(admin, id, { isEnabled: false })).rejects.toMatchObject(inUse)
    await expect(service.remove(admin, id, { detach: true })).rejects.toMatchObject(inUse)
    expect(await service.update(admin, id, { name: 'new' })).toMatchObject({ name: 'new' })
    expect(engine.openCount).toBe(1)
  })

  test('that turns it off closes it, and on again opens it', async () => {
    const service = aService()
    const { id } = (await create(service)).repository
    await service.update(admin, id, { isEnabled: false })
    expect([engine.openCount, await service.closedCount()]).toEqual([0, 0])
    await expect(service.open(id)).rejects.toMatchObject({ code: 'repository-disabled' })
    await service.update(admin, id, { isEnabled: true })
    await service.open(id)
  })

  test('of what is not there is told', async () => {
    const unknown = aService().update(admin, RepositoryId.parse(newId()), { name: 'x' })
    await expect(unknown).rejects.toMatchObject({ code: 'not-found' })
  })
})

describe('removing', () => {
  test('takes the record and leaves the files', async () => {
    const service = aService()
    const { id } = (await create(service)).repository
    await service.remove(admin, id, { detach: false })
    await expect(service.get(id)).rejects.toMatchObject({ code: 'not-found' })
    expect(await readdir(join(folder, 'repo'))).toContain('config')
    expect(engine.openCount).toBe(0)
  })

  test('is refused while there are restore points, unless it is to be detached; then it can come back', async () => {
    const service = aService()
    const { repository, password } = await create(service)
    const { repository: opened } = await service.open(repository.id)
    Object.assign(opened, { restorePointIds: async () => ['a'] })
    await expect(service.remove(admin, repository.id, { detach: false })).rejects.toMatchObject({
      code: 'repository-in-use',
      message: expect.stringContaining('1 restore point'),
    })
    await service.remove(admin, repository.id, { detach: true })
    const request = { name: 'again', existing: true, password: password ?? '', chunkBytes: undefined }
    const again = await create(service, request)
    expect(again.repository).toMatchObject({
      id: repository.id,
      name: 'again',
      formatId: repository.formatId,
      chunkBytes: repository.chunkBytes,
    })
  })
})

describe('keys', () => {
  test('a recovery key opens the repository, is shown once, and can be removed', async () => {
    const { service, keys } = capability()
    const { id } = (await create(service)).repository
    const { keyId, password } = await keys.add(admin, id, undefined)
    expect(password).toMatch(/^([0-9A-HJKMNP-TV-Z]{5}-){7}[0-9A-HJKMNP-TV-Z]{5}$/)
    const place = { type: 'local', path: join(folder, 'repo') } as const
    await (await engine.openRepository({ place, password: password ?? '' })).close()
    expect((await keys.list(id)).keys.map(key => key.isCurrent)).toEqual([true, false])
    expect(JSON.stringify([await keys.list(id), log.lines, await store.listAll()])).not.toContain(password)
    await keys.remove(admin, id, keyId)
    expect((await keys.list(id)).keys).toHaveLength(1)
    await expect(keys.remove(admin, id, keyId)).rejects.toMatchObject({ code: 'not-found' })
  })

  test('the one that the Hub uses cannot be removed, only changed', async () => {
    const { service, keys } = capability()
    const { repository, password: old } = await create(service)
    const [current] = (await keys.list(repository.id)).keys
    const removed = keys.remove(admin, repository.id, current?.id ?? '')
    await expect(removed).rejects.toMatchObject({ code: 'conflict' })
    const { password } = await keys.changePassword(admin, repository.id, undefined)
    expect(password).not.toBe(old)
    await service.close()
    const after = aService()
    await after.open(repository.id)
    const place = { type: 'local', path: join(folder, 'repo') } as const
    await expect(engine.openRepository({ place, password: old ?? '' })).rejects.toThrow('wrong')
  })

  test.each([
    ['before', false],
    ['after', true],
  ])(
    'a Hub that dies %s the repository has the new password opens it all the same',
    async (_when, isDone) => {
      const { service, keys } = capability()
      const { id } = (await create(service)).repository
      const { repository } = await service.open(id)
      const change = repository.changePassword
      Object.assign(repository, {
        changePassword: async (password: string) => {
          if (isDone) await change(password)
          throw new Error('killed')
        },
      })
      await expect(keys.changePassword(admin, id, 'the new password')).rejects.toThrow('killed')
      await service.close()
      const before = (await store.get(id))?.sealedPassword
      await aService().open(id)
      const { sealedPassword, sealedNextPassword } = (await store.get(id)) ?? {}
      expect([sealedPassword !== before, sealedNextPassword]).toEqual([isDone, null])
    },
  )

  test('a change that failed half-way is found out about before the next one', async () => {
    const { service, keys } = capability()
    const { id } = (await create(service)).repository
    const { repository } = await service.open(id)
    const change = repository.changePassword
    Object.assign(repository, {
      changePassword: async (password: string) => {
        await change(password)
        throw new Error('the answer was lost')
      },
    })
    await expect(keys.changePassword(admin, id, 'the second password')).rejects.toThrow('lost')
    Object.assign(repository, { changePassword: () => Promise.reject(new Error('killed')) })
    await expect(keys.changePassword(admin, id, 'the third password')).rejects.toThrow('killed')
    await service.close()
    await aService().open(id)
    expect((await store.get(id))?.sealedNextPassword).toBeNull()
  })

  test('two changes at once are made one after the other', async () => {
    const { service, keys } = capability()
    const { id } = (await create(service)).repository
    await Promise.all(['one password', 'another password'].map(one => keys.changePassword(admin, id, one)))
    const place = { type: 'local', path: join(folder, 'repo') } as const
    await service.close()
    await aService().open(id)
    await (await engine.openRepository({ place, password: 'another password' })).close()
  })
})

describe('storage', () => {
  test('counts what the restore points say about their disks, and reads each once', async () => {
    const { service, storage } = capability()
    const { id } = (await create(service)).repository
    const opened = await service.open(id)
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
    const measured = { usedBytes: 100, logicalBytes: 77, restorePointCount: 2, space: 'ok' }
    for (let i = 0; i < 2; i++) expect(await storage.measure(id)).toMatchObject(measured)
    expect(readCount).toBe(1)
    expect((await service.get(id)).storage).toMatchObject(measured)
  })

  test('is measured although the list of one restore point is damaged, and not when the storage is away', async () => {
    const { service, storage } = capability()
    const { id } = (await create(service)).repository
    const { repository } = await service.open(id)
    const info = { time: new Date(), hostname: 'db1', tags: [], paths: ['vm.json'] }
    let code: EngineErrorCode = 'repository-damaged'
    Object.assign(repository, {
      restorePoints: async () => ['good', 'bad'].map(point => ({ ...info, id: point })),
      readText: async (point: string) => {
        if (point === 'bad') throw new EngineError(code, 'It cannot be read')
        return JSON.stringify({ disks: [{ sizeBytes: 70 }] })
      },
    })
    expect(await storage.measure(id)).toMatchObject({ logicalBytes: 70, restorePointCount: 2 })
    code = 'repository-unavailable'
    await expect(storage.measure(id)).rejects.toMatchObject({ code })
  })

  test('that is asked for while it is measured is measured once more', async () => {
    const { service, storage } = capability()
    const { id } = (await create(service)).repository
    const { repository } = await service.open(id)
    const gate = Promise.withResolvers<void>()
    const { storage: measure } = repository
    let count = 0
    Object.assign(repository, {
      storage: async () => {
        count++
        await gate.promise
        return measure()
      },
    })
    for (let i = 0; i < 4; i++) storage.measureSoon(id)
    gate.resolve()
    await expect.poll(() => count).toBe(2)
    await expect.poll(async () => (await service.get(id)).storage?.usedBytes).toBe(100)
    expect(count).toBe(2)
  })

  test('of all is measured as far as it can be, and added up', async () => {
    const { service, storage } = capability()
    const one = (await create(service, { limits: { quotaBytes: 105 } })).repository
    const other = (await create(service, { name: 'other', path: join(folder, 'other') })).repository
    const off = (await create(service, { name: 'off', path: join(folder, 'off') })).repository
    await service.update(admin, off.id, { isEnabled: false })
    await service.close()
    await rm(join(folder, 'other'), { recursive: true })
    const { results } = await storage.refreshAll()
    expect(results.map(({ repositoryId, failure }) => [repositoryId, failure?.code])).toEqual([
      [one.id, undefined],
      [other.id, 'repository-not-found'],
    ])
    expect(await storage.summary()).toMatchObject({
      repositoryCount: 3,
      unavailableCount: 1,
      usedBytes: 100,
      short: [{ repositoryId: one.id, name: 'main', space: 'low', freeBytes: 5 }],
    })
  })

  test.each([
    [{}, 'ok'],
    [{ reserveBytes: 890 }, 'ok'],
    [{ reserveBytes: 900 }, 'full'],
    [{ quotaBytes: 1000 }, 'ok'],
    [{ quotaBytes: 110 }, 'low'],
    [{ quotaBytes: 100 }, 'full'],
  ])('with the limits %j is %s', async (limits, space) => {
    const { service, storage } = capability()
    const { id } = (await create(service, { limits })).repository
    expect(await storage.measure(id)).toMatchObject({ space })
  })

  test('statistics say how much deduplication and compression save', async () => {
    const { service, storage } = capability()
    const { id } = (await create(service)).repository
    expect(await storage.statistics(id)).toMatchObject({ dedupFactor: 4, compressionFactor: 2, packCount: 1 })
  })
})

describe('maintenance', () => {
  test('is a job, and one at a time rewrites the packs', async () => {
    const { service, maintenance } = capability()
    const { id } = (await create(service)).repository
    const prune = { dryRun: false, exclusive: false, graceHours: 24, wasteRatioMax: 0.1 }
    await maintenance.prune(id, prune)
    await maintenance.repair(id, { dryRun: true })
    await maintenance.verify(id, { scope: 'sample', samplePercent: 5 })
    expect(started.map(({ kind }) => kind)).toEqual([
      'repository-prune',
      'repository-repair',
      'repository-verify',
    ])
    expect(started[0]?.lockKey).toBe(started[1]?.lockKey)
    expect(started[0]?.input).toEqual({ ...prune, repositoryId: id })
  })

  test('is refused here and now when it could not be done', async () => {
    const { service, maintenance } = capability()
    const { id } = (await create(service)).repository
    const fromItself = maintenance.repair(id, { dryRun: false, sourceRepositoryId: id })
    await expect(fromItself).rejects.toMatchObject({ code: 'conflict' })
    await service.update(admin, id, { isEnabled: false })
    const off = maintenance.verify(id, { scope: 'all', samplePercent: 5 })
    await expect(off).rejects.toMatchObject({ code: 'repository-disabled' })
    expect(started).toEqual([])
  })
})
