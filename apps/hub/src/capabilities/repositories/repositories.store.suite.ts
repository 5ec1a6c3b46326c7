import { RepositoryId } from '@sendense/contracts'
import { newId } from '@sendense/platform'
import { describe, expect, test } from 'vitest'
import type { RepositoriesStore, RepositoryRecord } from './repositories.store.ts'

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
  })
}

function aRepository(overrides: Partial<RepositoryRecord> = {}): RepositoryRecord {
  const id = RepositoryId.parse(newId())
  return {
    id,
    name: `repository ${id}`,
    type: 'local',
    path: `/srv/${id}`,
    formatId: id.replaceAll('-', '').padEnd(64, '0'),
    chunkBytes: 1024 * 1024,
    sealedPassword: 'v1.sealed',
    createdAt: new Date('2026-01-01T00:00:00.123Z'),
    ...overrides,
  }
}
