import type { RepositoryId } from '@sendense/contracts'
import { EngineError, type Repository, type RepositoryLocation } from '@sendense/engine'
import { AppError, type Logger } from '@sendense/platform'
import type { Engine } from '../../platform/engine/engine.ts'
import { throwFromEngine } from '../../platform/engine/engine-problem.ts'
import type { SecretBox } from '../../platform/secrets/secret-box.ts'
import type { RepositoryMounts } from './mounts/repository-mounts.ts'
import { OneByOne } from './one-by-one.ts'
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

interface Opened {
  readonly repository: Repository
  /** Whether what a killed Hub had stored there is known. */
  isAdopted: boolean
}

/** The repositories that this process holds open: each is opened once, with its share mounted, for all who need it. */
export class OpenRepositories {
  readonly #options: Options
  readonly #opened = new Map<RepositoryId, Opened>()
  /** A repository is not opened while it is being closed, nor twice. */
  readonly #oneByOne = new OneByOne<RepositoryId>()

  constructor(options: Options) {
    this.#options = options
  }

  has(id: RepositoryId): boolean {
    return this.#opened.has(id)
  }

  /** Keeps one that was opened elsewhere. */
  keep(id: RepositoryId, repository: Repository): void {
    this.#opened.set(id, { repository, isAdopted: false })
  }

  /** The open repository, to read. Fails with the reason why it cannot be opened; the next call tries again. */
  async open(record: RepositoryRecord): Promise<Repository> {
    return (await this.#find(record)).repository
  }

  /**
   * The open repository, to store in it. What a killed Hub had stored there is known then and is not sent a second time.
   * Fails also when nothing can be stored there: it is read-only, full, or somebody has locked it.
   */
  async openToWrite(record: RepositoryRecord): Promise<Repository> {
    const opened = await this.#find(record)
    if (isMounted(record.place)) await this.#options.mounts.checkWritable(record.id)
    if (!opened.isAdopted) await this.#adopt(opened).catch(throwFromEngine)
    return opened.repository
  }

  /** Closes a repository, and unmounts its share. */
  close(id: RepositoryId): Promise<void> {
    return this.#oneByOne.run(id, () => this.#close(id))
  }

  async closeAll(): Promise<void> {
    await Promise.all([...this.#opened.keys()].map(id => this.#oneByOne.run(id, () => this.#closeOnly(id))))
    await this.#options.mounts.detachAll()
  }

  /** Opens a repository that is not kept, for example to try credentials out. The mount has the name that is given. */
  async openOnce(record: RepositoryRecord, mountName: string): Promise<Repository> {
    const { engine, secrets, mounts, store } = this.#options
    const { id, sealedPassword, sealedNextPassword, limits } = record
    const place = await reachPlace(openPlace(record, secrets), mountName, mounts)
    const open = (sealed: string) => {
      const password = secrets.open(sealed, passwordContext(id))
      const location: RepositoryLocation = { place, password, limits: engineLimits(limits) }
      return engine.openRepository(location)
    }
    if (sealedNextPassword === null) return open(sealedPassword).catch(throwFromEngine)
    // The Hub may have died while the password was being changed: the one that opens it is kept.
    const next = await open(sealedNextPassword).catch(unlessPasswordWrong)
    const repository = next ?? (await open(sealedPassword).catch(throwFromEngine))
    await store.change(id, {
      ...(next && { sealedPassword: sealedNextPassword }),
      sealedNextPassword: null,
    })
    return repository
  }

  /** Finds out which password opens a repository whose password was about to be changed. */
  async settlePassword(record: RepositoryRecord): Promise<void> {
    await (await this.openOnce(record, record.id)).close()
  }

  #find(record: RepositoryRecord): Promise<Opened> {
    const { id, name, isEnabled, place } = record
    if (!isEnabled)
      throw new AppError('repository-disabled', { detail: `The repository "${name}" is turned off` })
    return this.#oneByOne.run(id, async () => {
      // Without its share the folder is an empty one of the Hub: nothing may be written there.
      if (isMounted(place) && this.has(id) && !(await this.#options.mounts.isAttached(id)))
        await this.#close(id)
      const known = this.#opened.get(id)
      if (known) return known
      const opened = { repository: await this.openOnce(record, id), isAdopted: false }
      this.#opened.set(id, opened)
      await this.#tryToAdopt(id, opened)
      return opened
    })
  }

  async #close(id: RepositoryId): Promise<void> {
    await this.#closeOnly(id)
    await this.#options.mounts.detach(id)
  }

  async #closeOnly(id: RepositoryId): Promise<void> {
    const opened = this.#opened.get(id)
    this.#opened.delete(id)
    await opened?.repository.close()
  }

  async #tryToAdopt(repositoryId: RepositoryId, opened: Opened): Promise<void> {
    await this.#adopt(opened).catch(error =>
      this.#options.log.warn('Packs of an interrupted backup cannot be adopted now', { repositoryId, error }),
    )
  }

  async #adopt(opened: Opened): Promise<void> {
    const { packs, chunks } = await opened.repository.adoptOrphans()
    opened.isAdopted = true
    if (packs > 0) this.#options.log.info('Packs of an interrupted backup were adopted', { packs, chunks })
  }
}

function unlessPasswordWrong(error: unknown): undefined {
  if (error instanceof EngineError && error.code === 'repository-password-wrong') return undefined
  return throwFromEngine(error)
}
