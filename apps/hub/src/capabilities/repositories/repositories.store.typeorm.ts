import type { Page, PageQuery, RepositoryId, RepositoryType } from '@sendense/contracts'
import { AppError } from '@sendense/platform'
import { IsNull, Not } from 'typeorm'
import { type Db, findPage, isUniqueViolation } from '../../platform/database/index.ts'
import { RepositoryEntity, UnfinishedRepositoryEntity } from './repositories.entities.ts'
import {
  type RepositoriesStore,
  type RepositoryChange,
  type RepositoryRecord,
  removedRecord,
  type UnfinishedRepository,
} from './repositories.store.ts'

const PRESENT = { removedAt: IsNull() }

/** Repositories in the database. */
export class RepositoriesTypeormStore implements RepositoriesStore {
  readonly #db: Db

  constructor(db: Db) {
    this.#db = db
  }

  async add(repository: RepositoryRecord): Promise<void> {
    await this.#db
      .write(manager => manager.insert(RepositoryEntity, { ...repository }))
      .catch(error => this.#throwTaken(repository, error))
  }

  get(id: RepositoryId): Promise<RepositoryRecord | undefined> {
    return this.#findOne({ id, ...PRESENT })
  }

  findByName(name: string): Promise<RepositoryRecord | undefined> {
    return this.#findOne({ name, ...PRESENT })
  }

  list({
    type,
    ...query
  }: PageQuery & { type?: RepositoryType | undefined }): Promise<Page<RepositoryRecord>> {
    const byName = { by: 'name', direction: 'ascending' } as const
    const where = { ...PRESENT, ...(type && { type }) }
    return this.#db.read(manager => findPage(manager.getRepository(RepositoryEntity), where, byName, query))
  }

  listAll(): Promise<RepositoryRecord[]> {
    return this.#db.read(manager =>
      manager.find(RepositoryEntity, { where: PRESENT, order: { name: 'ASC' } }),
    )
  }

  async change(id: RepositoryId, change: RepositoryChange): Promise<RepositoryRecord> {
    if (Object.keys(change).length > 0) {
      await this.#db
        .write(manager => manager.update(RepositoryEntity, { id, ...PRESENT }, { ...change }))
        .catch(error => this.#throwTaken({ id, name: '', ...change }, error))
    }
    const changed = await this.get(id)
    if (!changed) throw new AppError('not-found', { detail: `There is no repository ${id}.` })
    return changed
  }

  async remove(id: RepositoryId, at: Date): Promise<void> {
    await this.#db.write(manager =>
      manager.update(RepositoryEntity, { id, ...PRESENT }, removedRecord(id, at)),
    )
  }

  findRemoved(formatId: string): Promise<RepositoryRecord | undefined> {
    return this.#findOne({ formatId, removedAt: Not(IsNull()) })
  }

  async restore({ id, ...repository }: RepositoryRecord): Promise<void> {
    await this.#db
      .write(manager => manager.update(RepositoryEntity, { id }, { ...repository }))
      .catch(error => this.#throwTaken({ id, ...repository }, error))
  }

  async begin(unfinished: UnfinishedRepository): Promise<void> {
    await this.#db.write(manager => manager.insert(UnfinishedRepositoryEntity, { ...unfinished }))
  }

  async finish(repository: RepositoryRecord): Promise<void> {
    await this.#db
      .write(async manager => {
        await manager.delete(UnfinishedRepositoryEntity, { id: repository.id })
        await manager.insert(RepositoryEntity, { ...repository })
      })
      .catch(error => this.#throwTaken(repository, error))
  }

  async giveUp(id: RepositoryId): Promise<void> {
    await this.#db.write(manager => manager.delete(UnfinishedRepositoryEntity, { id }))
  }

  listUnfinished(): Promise<UnfinishedRepository[]> {
    return this.#db.read(manager =>
      manager.find(UnfinishedRepositoryEntity, { order: { createdAt: 'ASC', id: 'ASC' } }),
    )
  }

  async #findOne(where: object): Promise<RepositoryRecord | undefined> {
    return (await this.#db.read(manager => manager.findOneBy(RepositoryEntity, where))) ?? undefined
  }

  async #throwTaken({ id, name }: Pick<RepositoryRecord, 'id' | 'name'>, error: unknown): Promise<never> {
    if (!isUniqueViolation(error)) throw error
    const namesake = await this.findByName(name)
    const isNameTaken = namesake !== undefined && namesake.id !== id
    throw new AppError(isNameTaken ? 'conflict' : 'repository-exists', { cause: error })
  }
}
