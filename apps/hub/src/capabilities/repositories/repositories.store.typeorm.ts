import type { Page, PageQuery, RepositoryId } from '@sendense/contracts'
import { AppError } from '@sendense/platform'
import { type Db, findPage, isUniqueViolation } from '../../platform/database/index.ts'
import { RepositoryEntity } from './repositories.entities.ts'
import type { RepositoriesStore, RepositoryRecord, RepositoryType } from './repositories.store.ts'

/** Repositories in the database. */
export class RepositoriesTypeormStore implements RepositoriesStore {
  readonly #db: Db

  constructor(db: Db) {
    this.#db = db
  }

  async add(repository: RepositoryRecord): Promise<void> {
    try {
      await this.#db.write(manager => manager.insert(RepositoryEntity, { ...repository }))
    } catch (error) {
      if (!isUniqueViolation(error)) throw error
      const isNameTaken = await this.findByName(repository.name)
      throw new AppError(isNameTaken ? 'conflict' : 'repository-exists', { cause: error })
    }
  }

  async get(id: RepositoryId): Promise<RepositoryRecord | undefined> {
    return (await this.#db.read(manager => manager.findOneBy(RepositoryEntity, { id }))) ?? undefined
  }

  async findByName(name: string): Promise<RepositoryRecord | undefined> {
    return (await this.#db.read(manager => manager.findOneBy(RepositoryEntity, { name }))) ?? undefined
  }

  list({
    type,
    ...query
  }: PageQuery & { type?: RepositoryType | undefined }): Promise<Page<RepositoryRecord>> {
    const byName = { by: 'name', direction: 'ascending' } as const
    return this.#db.read(manager =>
      findPage(manager.getRepository(RepositoryEntity), { ...(type && { type }) }, byName, query),
    )
  }

  listAll(): Promise<RepositoryRecord[]> {
    return this.#db.read(manager => manager.find(RepositoryEntity, { order: { name: 'ASC' } }))
  }
}
