import { NO_LIMITS, RepositoryId } from '@sendense/contracts'
import { newId } from '@sendense/platform'
import { describe, expect, test } from 'vitest'
import type { RepositoriesStore, RepositoryRecord, UnfinishedRepository } from './repositories.store.ts'

/** What every store of repositories promises. */
export function repositoriesStoreSuite(name: string, open: () => Promise<RepositoriesStore>): void {
  describe(name, () => {
    test('a repository is found by id and by name, with all its fields', async () => {
      const store = await open()
      const repository = aRepository()
      await store.add(repository)
      expect(await store.get(repository.id)).toEqual(repository)
      expect(await store.findByName(repository.name)).toEqual(repository)
      expect(await store.findByName('another')).toBeUndefined()
    })

    test('neither a name nor a repository is there twice', async () => {
      const store = await open()
      const repository = aRepository()
      await store.add(repository)
      await expect(store.add(aRepository({ name: repository.name }))).rejects.toMatchObject({
        code: 'conflict',
      })
      await expect(store.add(aRepository({ formatId: repository.formatId }))).rejects.toMatchObject({
        code: 'repository-exists',
      })
    })

    test('a list goes by name, page by page', async () => {
      const store = await open()
      for (const name of ['c', 'ä', 'a', 'b']) await store.add(aRepository({ name }))
      const first = await store.list({ limit: 3, type: 'local' })
      expect(first.items.map(one => one.name)).toEqual(['a', 'b', 'c'])
      const second = await store.list({ limit: 3, cursor: first.nextCursor })
      expect(second.items.map(one => one.name)).toEqual(['ä'])
      expect(second.nextCursor).toBeUndefined()
      expect((await store.listAll()).map(one => one.name)).toEqual(['a', 'b', 'c', 'ä'])
    })

    test('what may change is changed, and the rest stays', async () => {
      const store = await open()
      const repository = aRepository()
      await store.add(repository)
      const limits = { ...NO_LIMITS, quotaBytes: 2 ** 40 }
      const changed = await store.change(repository.id, { name: 'new', limits, isEnabled: false })
      expect(changed).toEqual({ ...repository, name: 'new', limits, isEnabled: false })
      expect(await store.get(repository.id)).toEqual(changed)
      expect(await store.change(repository.id, {})).toEqual(changed)
      await store.add(aRepository({ name: 'taken' }))
      await expect(store.change(repository.id, { name: 'taken' })).rejects.toMatchObject({ code: 'conflict' })
      const unknown = store.change(RepositoryId.parse(newId()), { name: 'x' })
      await expect(unknown).rejects.toMatchObject({ code: 'not-found' })
    })

    test('a removed one is gone, with its secrets, and its name is free', async () => {
      const store = await open()
      const repository = aRepository({ sealedSecrets: 'v1.sealed' })
      await store.add(repository)
      await store.remove(repository.id, new Date(0))
      expect(await store.get(repository.id)).toBeUndefined()
      expect(await store.findByName(repository.name)).toBeUndefined()
      expect(await store.listAll()).toEqual([])
      expect((await store.list({ limit: 9 })).items).toEqual([])
      const left = await store.findRemoved(repository.formatId)
      expect(left).toMatchObject({ id: repository.id, sealedSecrets: null, sealedPassword: '' })
      await store.add(aRepository({ name: repository.name }))
    })

    test('a removed one that comes back has its id again', async () => {
      const store = await open()
      const repository = aRepository()
      await store.add(repository)
      expect(await store.findRemoved(repository.formatId)).toBeUndefined()
      await store.remove(repository.id, new Date(0))
      await store.restore({ ...repository, name: 'again' })
      expect(await store.get(repository.id)).toEqual({ ...repository, name: 'again' })
      expect(await store.findRemoved(repository.formatId)).toBeUndefined()
    })

    test('one that is being made is no repository until it is finished', async () => {
      const store = await open()
      const [first, second] = [aRepository(), aRepository({ createdAt: new Date('2026-01-02') })]
      await store.begin(unfinishedOf(second))
      await store.begin(unfinishedOf(first))
      expect(await store.listUnfinished()).toEqual([unfinishedOf(first), unfinishedOf(second)])
      expect(await store.listAll()).toEqual([])
      await store.finish(first)
      expect(await store.get(first.id)).toEqual(first)
      await store.giveUp(second.id)
      await store.giveUp(second.id)
      expect(await store.listUnfinished()).toEqual([])
      expect(await store.listAll()).toEqual([first])
    })

    test('one that cannot be finished stays unfinished', async () => {
      const store = await open()
      const [known, taken] = [aRepository(), aRepository()]
      await store.add(known)
      await store.begin(unfinishedOf(taken))
      const namesake = store.finish({ ...taken, name: known.name })
      await expect(namesake).rejects.toMatchObject({ code: 'conflict' })
      const double = store.finish({ ...taken, formatId: known.formatId })
      await expect(double).rejects.toMatchObject({ code: 'repository-exists' })
      expect(await store.listUnfinished()).toEqual([unfinishedOf(taken)])
      expect(await store.listAll()).toEqual([known])
    })
  })
}

function aRepository(overrides: Partial<RepositoryRecord> = {}): RepositoryRecord {
  const id = RepositoryId.parse(newId())
  return {
    id,
    name: `repository ${id}`,
    type: 'local',
    place: { type: 'local', path: `/srv/${id}` },
    sealedSecrets: null,
    formatId: id.replaceAll('-', '').padEnd(64, '0'),
    chunkBytes: 1024 * 1024,
    sealedPassword: 'v1.sealed',
    sealedNextPassword: null,
    isEnabled: true,
    limits: NO_LIMITS,
    storage: null,
    removedAt: null,
    createdAt: new Date('2026-01-01T00:00:00.123Z'),
    ...overrides,
  }
}

function unfinishedOf(repository: RepositoryRecord): UnfinishedRepository {
  const { id, name, type, place, sealedSecrets, chunkBytes, sealedPassword, limits, createdAt } = repository
  return { id, name, type, place, sealedSecrets, chunkBytes, sealedPassword, limits, createdAt }
}
