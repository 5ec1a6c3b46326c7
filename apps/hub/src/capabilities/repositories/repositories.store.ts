import type {
  Page,
  PageQuery,
  RepositoryId,
  RepositoryLimits,
  RepositoryPlace,
  RepositoryStorage,
  RepositoryType,
} from '@sendense/contracts'

/** A repository as the Hub keeps it. */
export interface RepositoryRecord {
  readonly id: RepositoryId
  readonly name: string
  readonly type: RepositoryType
  /** Where it is, without secrets. */
  readonly place: RepositoryPlace
  /** The secrets of the place, sealed with the master key of the Hub; null where it takes none. */
  readonly sealedSecrets: string | null
  /** The id inside the repository: the same wherever it is mounted. */
  readonly formatId: string
  readonly chunkBytes: number
  /** Sealed with the master key of the Hub. */
  readonly sealedPassword: string
  /** The password that is about to replace it: while it is being changed, one of both opens the repository. */
  readonly sealedNextPassword: string | null
  readonly isEnabled: boolean
  readonly limits: RepositoryLimits
  /** What it held when it was last measured. */
  readonly storage: RepositoryStorage | null
  /** When the Hub gave it up. The record stays for the backups that name it, without its secrets. */
  readonly removedAt: Date | null
  readonly createdAt: Date
}

/** A repository that is being made: what opens it is kept before it is there. */
export type UnfinishedRepository = Pick<
  RepositoryRecord,
  | 'id'
  | 'name'
  | 'type'
  | 'place'
  | 'sealedSecrets'
  | 'chunkBytes'
  | 'sealedPassword'
  | 'limits'
  | 'createdAt'
>

export type RepositoryChange = Partial<Omit<RepositoryRecord, 'id' | 'type' | 'createdAt'>>

/** All but `findRemoved` and `restore` know only the repositories that were not removed. */
export interface RepositoriesStore {
  /** Fails with `conflict` when the name is taken, and with `repository-exists` when the repository is known. */
  add(repository: RepositoryRecord): Promise<void>
  get(id: RepositoryId): Promise<RepositoryRecord | undefined>
  findByName(name: string): Promise<RepositoryRecord | undefined>
  /** By name. */
  list(query: PageQuery & { type?: RepositoryType | undefined }): Promise<Page<RepositoryRecord>>
  listAll(): Promise<RepositoryRecord[]>
  /** Changes some of it. Fails with `conflict` when the new name is taken, and with `not-found`. */
  change(id: RepositoryId, change: RepositoryChange): Promise<RepositoryRecord>
  /** Gives it up: its name is free again, its secrets are gone. */
  remove(id: RepositoryId, at: Date): Promise<void>
  /** The one with this id inside that was removed. */
  findRemoved(formatId: string): Promise<RepositoryRecord | undefined>
  /** Replaces a removed one: the backups that name it have it back. Fails like `add`. */
  restore(repository: RepositoryRecord): Promise<void>
  /** Keeps a repository that is about to be made. */
  begin(unfinished: UnfinishedRepository): Promise<void>
  /** Adds one that was begun and is there now. Both or neither; fails like `add`. */
  finish(repository: RepositoryRecord): Promise<void>
  /** Forgets one that was begun and is not there. */
  giveUp(id: RepositoryId): Promise<void>
  /** Those that were begun and neither finished nor given up, the oldest first. */
  listUnfinished(): Promise<UnfinishedRepository[]>
}

/** What is left of a record when its repository is removed. */
export function removedRecord(id: RepositoryId, at: Date) {
  return { name: id, removedAt: at, sealedSecrets: null, sealedPassword: '', sealedNextPassword: null }
}
