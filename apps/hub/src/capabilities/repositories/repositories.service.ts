import { randomBytes } from 'node:crypto'
import { mkdir, rmdir } from 'node:fs/promises'
import {
  type Page,
  type PageQuery,
  type RepositoryId,
  RepositoryId as RepositoryIdSchema,
  type RepositoryStorage,
  type Repository as RepositoryView,
} from '@sendense/contracts'
import type { Repository } from '@sendense/engine'
import { AppError, type Clock, type Logger, newId, type Principal } from '@sendense/platform'
import type { z } from 'zod'
import type { Engine } from '../../platform/engine/engine.ts'
import { throwFromEngine } from '../../platform/engine/engine-problem.ts'
import type { SecretBox } from '../../platform/secrets/secret-box.ts'
import type { RepositoriesStore, RepositoryRecord, RepositoryType } from './repositories.store.ts'
import { checkRepositoryPath, contains } from './repository-path.ts'
import { RestorePointSizes } from './restore-point-sizes.ts'

export interface RepositoriesOptions {
  store: RepositoriesStore
  engine: Pick<Engine, 'initRepository' | 'openRepository'>
  secrets: Pick<SecretBox, 'seal' | 'open'>
  dataDir: string
  clock: Clock
  log: Logger
}

export interface CreateRepository {
  name: string
  type: RepositoryType
  path: string
  chunkBytes: number
  password?: string | undefined
  existing: boolean
}

/** Where restore points are kept. */
export class RepositoriesService {
  readonly #options: RepositoriesOptions
  readonly #opened = new Map<RepositoryId, Promise<Repository>>()
  readonly #sizes = new RestorePointSizes()
  #lastCreate: Promise<unknown> = Promise.resolve()

  constructor(options: RepositoriesOptions) {
    this.#options = options
  }

  /** One at a time: what was checked must still hold when the repository is made. */
  create(
    principal: Principal,
    request: CreateRepository,
  ): Promise<{ repository: RepositoryView; password: string | null }> {
    const created = this.#lastCreate.then(() => this.#create(principal, request))
    this.#lastCreate = created.catch(() => undefined)
    return created
  }

  async list(query: PageQuery & { type?: RepositoryType | undefined }): Promise<Page<RepositoryView>> {
    const page = await this.#options.store.list(query)
    return { ...page, items: page.items.map(view) }
  }

  async get(id: RepositoryId): Promise<RepositoryView> {
    return view(await this.#find(id))
  }

  async storage(id: RepositoryId): Promise<z.input<typeof RepositoryStorage>> {
    const { repository } = await this.open(id)
    const storage = await repository.storage().catch(throwFromEngine)
    const restorePoints = await repository.restorePoints().catch(throwFromEngine)
    return {
      repositoryId: id,
      totalBytes: storage.totalBytes,
      freeBytes: storage.freeBytes,
      usedBytes: storage.usedBytes,
      logicalBytes: await this.#sizes.total(repository, restorePoints).catch(throwFromEngine),
      restorePointCount: restorePoints.length,
      chunkCount: storage.chunkCount,
      checkedAt: this.#options.clock.now().toISOString(),
    }
  }

  /**
   * The open repository, for other capabilities. Fails with `not-found`, or with the reason why it cannot be opened;
   * the next call tries again.
   */
  async open(id: RepositoryId): Promise<{ repository: Repository; chunkBytes: number }> {
    const record = await this.#find(id)
    return { repository: await this.#opening(record), chunkBytes: record.chunkBytes }
  }

  async ids(): Promise<RepositoryId[]> {
    return (await this.#options.store.listAll()).map(({ id }) => id)
  }

  /** Opens all repositories. One that cannot be opened is logged, and tried again when it is needed. */
  async openAll(): Promise<void> {
    for (const record of await this.#options.store.listAll()) {
      await this.#opening(record).catch(error =>
        this.#options.log.error('A repository cannot be opened', {
          name: record.name,
          path: record.path,
          error,
        }),
      )
    }
  }

  /** How many repositories are not open. */
  async closedCount(): Promise<number> {
    const all = await this.ids()
    return all.filter(id => !this.#opened.has(id)).length
  }

  async close(): Promise<void> {
    const opened = await Promise.allSettled(this.#opened.values())
    this.#opened.clear()
    for (const one of opened) if (one.status === 'fulfilled') await one.value.close()
  }

  async #create(principal: Principal, request: CreateRepository) {
    const { store, secrets, clock, log, dataDir } = this.#options
    await this.#checkRequest(request)
    await checkRepositoryPath(request.path, { dataDir, existing: request.existing })
    const password = request.password ?? randomBytes(32).toString('base64url')
    const repository = await this.#makeOrOpen(request, password)
    const id = RepositoryIdSchema.parse(newId())
    const { name, type, path, chunkBytes } = request
    const record: RepositoryRecord = {
      id,
      name,
      type,
      path,
      chunkBytes,
      formatId: repository.id,
      sealedPassword: secrets.seal(password, secretContext(id)),
      createdAt: clock.now(),
    }
    try {
      await store.add(record)
    } catch (error) {
      await repository.close()
      throw error
    }
    this.#opened.set(id, Promise.resolve(repository))
    log.info('A repository was added', { repositoryId: id, name, path, by: principal.name })
    return { repository: view(record), password: request.password === undefined ? password : null }
  }

  async #checkRequest({ name, path, existing, password }: CreateRepository): Promise<void> {
    if (existing && password === undefined) {
      const detail = 'is required to add a repository that exists already'
      throw new AppError('request-invalid', {
        detail: `The password ${detail}`,
        errors: [{ pointer: '/body/password', detail }],
      })
    }
    for (const one of await this.#options.store.listAll()) {
      if (one.name === name)
        throw new AppError('conflict', { detail: `There is a repository "${name}" already` })
      if (contains(one.path, path) || contains(path, one.path)) {
        throw new AppError('repository-exists', { detail: `The repository "${one.name}" is at ${one.path}` })
      }
    }
  }

  async #makeOrOpen({ path, existing }: CreateRepository, password: string): Promise<Repository> {
    const { engine } = this.#options
    const place = { type: 'local', path } as const
    if (existing)
      return this.#prepared(await engine.openRepository({ place, password }).catch(throwFromEngine))
    await mkdir(path, { recursive: true, mode: 0o700 }).catch((cause: unknown) => {
      throw new AppError('repository-unavailable', { detail: `The folder ${path} cannot be made`, cause })
    })
    try {
      return await engine.initRepository({ place, password })
    } catch (error) {
      // Takes away an empty folder only, so that the next attempt finds what this one found.
      await rmdir(path).catch(() => undefined)
      return throwFromEngine(error)
    }
  }

  #opening(record: RepositoryRecord): Promise<Repository> {
    const known = this.#opened.get(record.id)
    if (known !== undefined) return known
    const opening = this.#openStored(record)
    this.#opened.set(record.id, opening)
    opening.catch(() => this.#opened.delete(record.id))
    return opening
  }

  async #openStored({ id, path, sealedPassword }: RepositoryRecord): Promise<Repository> {
    const { engine, secrets } = this.#options
    const password = secrets.open(sealedPassword, secretContext(id))
    const place = { type: 'local', path } as const
    return this.#prepared(await engine.openRepository({ place, password }).catch(throwFromEngine))
  }

  /** What a killed Hub had stored becomes known again, so that it is not sent a second time. */
  async #prepared(repository: Repository): Promise<Repository> {
    try {
      const { packs, chunks } = await repository.adoptOrphans()
      if (packs > 0) this.#options.log.info('Packs of an interrupted backup were adopted', { packs, chunks })
      return repository
    } catch (error) {
      await repository.close()
      return throwFromEngine(error)
    }
  }

  async #find(id: RepositoryId): Promise<RepositoryRecord> {
    const record = await this.#options.store.get(id)
    if (!record) throw new AppError('not-found', { detail: `There is no repository ${id}.` })
    return record
  }
}

function secretContext(id: RepositoryId): string {
  return `repository password ${id}`
}

function view({ sealedPassword: _sealed, createdAt, ...rest }: RepositoryRecord): RepositoryView {
  return { ...rest, createdAt: createdAt.toISOString() }
}
