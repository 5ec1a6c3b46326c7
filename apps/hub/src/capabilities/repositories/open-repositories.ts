import type { RepositoryId } from '@sendense/contracts'
import { EngineError, type Repository, type RepositoryLocation } from '@sendense/engine'
import { AppError, type Logger } from '@sendense/platform'
import type { Engine } from '../../platform/engine/engine.ts'
import { throwFromEngine } from '../../platform/engine/engine-problem.ts'
import type { SecretBox } from '../../platform/secrets/secret-box.ts'
import type { RepositoryMounts } from './mounts/repository-mounts.ts'
import { engineLimits, isMounted, reachPlace } from './reach-place.ts'
import type { RepositoriesStore, RepositoryRecord } from './repositories.store.ts'
import { openPlace, passwordContext } from './repository-secrets.ts'

interface Options {
  store: Pick<RepositoriesStore, 'get' | 'change'>
  engine: Pick<Engine, 'openRepository'>
  secrets: Pick<SecretBox, 'seal' | 'open'>
  mounts: RepositoryMounts
  log: Logger
}

/** The repositories that this process holds open: each is opened once, with its share mounted, for all who need it. */
export class OpenRepositories {
  readonly #options: Options
  readonly #opened = new Map<RepositoryId, Promise<Repository>>()

  constructor(options: Options) {
    this.#options = options
  }

  has(id: RepositoryId): boolean {
    return this.#opened.has(id)
  }

  /** Keeps one that was opened elsewhere. */
  keep(id: RepositoryId, repository: Repository): void {
    this.#opened.set(id, Promise.resolve(repository))
  }

  /** The open repository. Fails with the reason why it cannot be opened; the next call tries again. */
  async open(record: RepositoryRecord): Promise<Repository> {
    const { id, name, isEnabled, place } = record
    if (!isEnabled)
      throw new AppError('repository-disabled', { detail: `The repository "${name}" is turned off` })
    // Without its share the folder is an empty one of the Hub: nothing may be written there.
    if (isMounted(place) && this.has(id) && !(await this.#options.mounts.isAttached(id))) await this.close(id)
    const known = this.#opened.get(id)
    if (known !== undefined) return known
    const opening = this.#open(record)
    this.#opened.set(id, opening)
    opening.catch(() => this.#opened.delete(id))
    return opening
  }

  /** Closes a repository, and unmounts its share. */
  async close(id: RepositoryId): Promise<void> {
    const opened = this.#opened.get(id)
    this.#opened.delete(id)
    const repository = await opened?.catch(() => undefined)
    await repository?.close()
    await this.#options.mounts.detach(id)
  }

  async closeAll(): Promise<void> {
    const opened = await Promise.allSettled(this.#opened.values())
    this.#opened.clear()
    for (const one of opened) if (one.status === 'fulfilled') await one.value.close()
    await this.#options.mounts.detachAll()
  }

  /** Opens a repository that is not kept, for example to try credentials out. The mount has the name that is given. */
  async openOnce(record: RepositoryRecord, mountName: string): Promise<Repository> {
    const { engine, secrets, mounts } = this.#options
    const place = await reachPlace(openPlace(record, secrets), mountName, mounts)
    const password = secrets.open(record.sealedPassword, passwordContext(record.id))
    const location: RepositoryLocation = { place, password, limits: engineLimits(record.limits) }
    try {
      return await engine.openRepository(location)
    } catch (error) {
      return this.#openChanged(record, location, error)
    }
  }

  async #open(record: RepositoryRecord): Promise<Repository> {
    return this.prepared(await this.openOnce(record, record.id))
  }

  /** The Hub may have died while the password was being changed: then the next one opens it, and is kept. */
  async #openChanged(
    record: RepositoryRecord,
    location: RepositoryLocation,
    cause: unknown,
  ): Promise<Repository> {
    const { store, engine, secrets } = this.#options
    const { id, sealedNextPassword } = record
    const isWrong = cause instanceof EngineError && cause.code === 'repository-password-wrong'
    if (!isWrong || sealedNextPassword === null) return throwFromEngine(cause)
    const password = secrets.open(sealedNextPassword, passwordContext(id))
    const repository = await engine.openRepository({ ...location, password }).catch(throwFromEngine)
    await store.change(id, { sealedPassword: sealedNextPassword, sealedNextPassword: null })
    return repository
  }

  /** What a killed Hub had stored becomes known again, so that it is not sent a second time. */
  async prepared(repository: Repository): Promise<Repository> {
    try {
      const { packs, chunks } = await repository.adoptOrphans()
      if (packs > 0) this.#options.log.info('Packs of an interrupted backup were adopted', { packs, chunks })
      return repository
    } catch (error) {
      await repository.close()
      return throwFromEngine(error)
    }
  }
}
