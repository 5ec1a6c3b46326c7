import type { Page, PageQuery, RepositoryId } from '@sendense/contracts'

export type RepositoryType = 'local'

/** A repository as the Hub keeps it. */
export interface RepositoryRecord {
  readonly id: RepositoryId
  readonly name: string
  readonly type: RepositoryType
  readonly path: string
  /** The id inside the repository: the same wherever it is mounted. */
  readonly formatId: string
  readonly chunkBytes: number
  /** Sealed with the master key of the Hub. */
  readonly sealedPassword: string
  readonly createdAt: Date
}

export interface RepositoriesStore {
  /** Fails with `conflict` when the name is taken, and with `repository-exists` when the repository is known. */
  add(repository: RepositoryRecord): Promise<void>
  get(id: RepositoryId): Promise<RepositoryRecord | undefined>
  findByName(name: string): Promise<RepositoryRecord | undefined>
  /** By name. */
  list(query: PageQuery & { type?: RepositoryType | undefined }): Promise<Page<RepositoryRecord>>
  listAll(): Promise<RepositoryRecord[]>
}
