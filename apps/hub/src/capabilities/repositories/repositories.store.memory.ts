import type { Page, PageQuery, RepositoryId } from '@sendense/contracts'
import { AppError } from '@sendense/platform'
import { pageOfArray } from '../../testing/page-of-array.ts'
import type { RepositoriesStore, RepositoryRecord, RepositoryType } from './repositories.store.ts'

/** The fake: passes the same suite as the real store. */
export class RepositoriesMemoryStore implements RepositoriesStore {
  readonly #repositories = new Map<RepositoryId, RepositoryRecord>()

  async add(repository: RepositoryRecord): Promise<void> {
    const all = await this.listAll()
    if (all.some(one => one.name === repository.name)) throw new AppError('conflict')
    if (all.some(one => one.formatId === repository.formatId)) throw new AppError('repository-exists')
    this.#repositories.set(repository.id, { ...repository })
  }

  async get(id: RepositoryId): Promise<RepositoryRecord | undefined> {
    return this.#repositories.get(id)
  }

  async findByName(name: string): Promise<RepositoryRecord | undefined> {
    return [...this.#repositories.values()].find(one => one.name === name)
  }

  async list({
    type,
    ...query
  }: PageQuery & { type?: RepositoryType | undefined }): Promise<Page<RepositoryRecord>> {
    const matching = (await this.listAll()).filter(one => type === undefined || one.type === type)
    return pageOfArray(matching, query, one => one.name, 'ascending')
  }

  async listAll(): Promise<RepositoryRecord[]> {
    return [...this.#repositories.values()].sort((one, other) => (one.name < other.name ? -1 : 1))
  }
}
