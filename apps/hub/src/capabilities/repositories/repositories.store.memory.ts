import type { Page, PageQuery, RepositoryId, RepositoryType } from '@sendense/contracts'
import { AppError } from '@sendense/platform'
import { pageOfArray } from '../../testing/page-of-array.ts'
import {
  type RepositoriesStore,
  type RepositoryChange,
  type RepositoryRecord,
  removedRecord,
  type UnfinishedRepository,
} from './repositories.store.ts'

/** The fake: passes the same suite as the real store. */
export class RepositoriesMemoryStore implements RepositoriesStore {
  readonly #repositories = new Map<RepositoryId, RepositoryRecord>()
  readonly #unfinished = new Map<RepositoryId, UnfinishedRepository>()

  async add(repository: RepositoryRecord): Promise<void> {
    this.#checkUnique(repository)
    this.#repositories.set(repository.id, { ...repository })
  }

  async get(id: RepositoryId): Promise<RepositoryRecord | undefined> {
    return (await this.listAll()).find(one => one.id === id)
  }

  async findByName(name: string): Promise<RepositoryRecord | undefined> {
    return (await this.listAll()).find(one => one.name === name)
  }

  async list({
    type,
    ...query
  }: PageQuery & { type?: RepositoryType | undefined }): Promise<Page<RepositoryRecord>> {
    const matching = (await this.listAll()).filter(one => type === undefined || one.type === type)
    return pageOfArray(matching, query, one => one.name, 'ascending')
  }

  async listAll(): Promise<RepositoryRecord[]> {
    return [...this.#repositories.values()]
      .filter(one => one.removedAt === null)
      .sort((one, other) => (one.name < other.name ? -1 : 1))
  }

  async change(id: RepositoryId, change: RepositoryChange): Promise<RepositoryRecord> {
    const known = await this.get(id)
    if (!known) throw new AppError('not-found')
    const changed = { ...known, ...change }
    this.#checkUnique(changed)
    this.#repositories.set(id, changed)
    return changed
  }

  async remove(id: RepositoryId, at: Date): Promise<void> {
    const known = await this.get(id)
    if (known) this.#repositories.set(id, { ...known, ...removedRecord(id, at) })
  }

  async findRemoved(formatId: string): Promise<RepositoryRecord | undefined> {
    return [...this.#repositories.values()].find(one => one.removedAt !== null && one.formatId === formatId)
  }

  async restore(repository: RepositoryRecord): Promise<void> {
    await this.add(repository)
  }

  async begin(unfinished: UnfinishedRepository): Promise<void> {
    this.#unfinished.set(unfinished.id, { ...unfinished })
  }

  async finish(repository: RepositoryRecord): Promise<void> {
    await this.add(repository)
    this.#unfinished.delete(repository.id)
  }

  async giveUp(id: RepositoryId): Promise<void> {
    this.#unfinished.delete(id)
  }

  async listUnfinished(): Promise<UnfinishedRepository[]> {
    return [...this.#unfinished.values()].sort(
      (one, other) => one.createdAt.getTime() - other.createdAt.getTime(),
    )
  }

  #checkUnique({ id, name, formatId }: RepositoryRecord): void {
    const others = [...this.#repositories.values()].filter(one => one.id !== id)
    if (others.some(one => one.name === name)) throw new AppError('conflict')
    if (others.some(one => one.formatId === formatId)) throw new AppError('repository-exists')
  }
}
