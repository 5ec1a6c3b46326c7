import type {
  CreateRepositoryRequest,
  NewRepositoryPlace,
  Page,
  PageQuery,
  RepositoryId,
  RepositoryTest,
  RepositoryType,
  Repository as RepositoryView,
  UpdateRepositoryRequest,
} from '@sendense/contracts'
import type { Repository } from '@sendense/engine'
import { AppError, type Clock, type Logger, newId, type Principal } from '@sendense/platform'
import type { z } from 'zod'
import type { Engine } from '../../platform/engine/engine.ts'
import { throwFromEngine } from '../../platform/engine/engine-problem.ts'
import type { SecretBox } from '../../platform/secrets/secret-box.ts'
import type { JobsService } from '../jobs/index.ts'
import { addRepository } from './add-repository.ts'
import type { RepositoryMounts } from './mounts/repository-mounts.ts'
import { OneByOne } from './one-by-one.ts'
import type { OpenRepositories } from './open-repositories.ts'
import { probe, probeShare } from './probe-place.ts'
import { changedLimits, isMounted, reachPlaceToWrite } from './reach-place.ts'
import type { RepositoriesStore, RepositoryChange, RepositoryRecord } from './repositories.store.ts'
import { checkRepositoryPath } from './repository-path.ts'
import { openPlace, sealPlace } from './repository-secrets.ts'
import { viewOf } from './repository-view.ts'
import { giveUpUnfinished, settleAll } from './unfinished-repository.ts'

export interface RepositoriesOptions {
  store: RepositoriesStore
  engine: Pick<Engine, 'initRepository' | 'openRepository' | 'probePlace'>
  secrets: Pick<SecretBox, 'seal' | 'open'>
  opened: OpenRepositories
  mounts: RepositoryMounts
  jobs: Pick<JobsService, 'listUnfinished'>
  dataDir: string
  clock: Clock
  log: Logger
}

/** Where restore points are kept. */
export class RepositoriesService {
  readonly #options: RepositoriesOptions
  readonly #changes = new OneByOne<'any repository'>()

  constructor(options: RepositoriesOptions) {
    this.#options = options
  }

  /** Makes a repository, or takes an existing one in. */
  create(
    principal: Principal,
    request: CreateRepositoryRequest,
  ): Promise<{ repository: RepositoryView; password: string | null }> {
    return this.#oneByOne(async () => {
      const { record, password } = await addRepository(request, this.#options)
      const { id, name, type } = record
      this.#options.log.info('A repository was added', { repositoryId: id, name, type, by: principal.name })
      return { repository: viewOf(record), password }
    })
  }

  async list(query: PageQuery & { type?: RepositoryType | undefined }): Promise<Page<RepositoryView>> {
    const page = await this.#options.store.list(query)
    return { ...page, items: page.items.map(viewOf) }
  }

  async get(id: RepositoryId): Promise<RepositoryView> {
    return viewOf(await this.find(id))
  }

  /** Changes what may be changed. While jobs use the repository only its name. */
  update(principal: Principal, id: RepositoryId, request: UpdateRepositoryRequest): Promise<RepositoryView> {
    return this.#oneByOne(async () => {
      const record = await this.find(id)
      const { name, ...others } = request
      const change = await this.#changeOf(record, request)
      if (Object.values(others).some(value => value !== undefined)) await this.#checkUnused(record)
      if (request.credentials) await this.#tryCredentials({ ...record, ...change })
      const changed = await this.#options.store.change(id, change)
      // What it was opened with is no longer what it shall be opened with.
      if (Object.keys(change).some(field => field !== 'name')) await this.#openAnew(changed)
      this.#options.log.info('A repository was changed', {
        repositoryId: id,
        fields: Object.keys(request),
        by: principal.name,
      })
      return viewOf(changed)
    })
  }

  /** Gives a repository up, also one whose making was interrupted. What lies at its place stays as it is. */
  remove(principal: Principal, id: RepositoryId, { detach }: { detach: boolean }): Promise<void> {
    return this.#oneByOne(async () => {
      const { store, opened, clock, log } = this.#options
      const begun = await giveUpUnfinished(id, { detach }, this.#options)
      if (begun) {
        const { name } = begun
        log.info('A repository that was begun was given up', { repositoryId: id, name, by: principal.name })
        return
      }
      const record = await this.find(id)
      await this.#checkUnused(record)
      if (!detach) await this.#checkEmpty(record)
      await store.remove(id, clock.now())
      await opened.close(id)
      log.info('A repository was removed', {
        repositoryId: id,
        name: record.name,
        detach,
        by: principal.name,
      })
    })
  }

  /** Tries out a place that no repository is at yet. */
  async testPlace(place: NewRepositoryPlace): Promise<z.input<typeof RepositoryTest>> {
    const { engine, mounts, dataDir } = this.#options
    if (place.type === 'local')
      await checkRepositoryPath(place.path, { dataDir, existing: true, isBegun: false })
    const mountName = `test-${newId()}`
    try {
      const reached = await reachPlaceToWrite(place, mountName, mounts)
      const isShare = isMounted(place) && reached.type === 'local'
      return await (isShare ? probeShare(reached, engine) : probe(reached, engine))
    } finally {
      await mounts.detach(mountName)
    }
  }

  /** Tries out the place of a repository, with the credentials that are kept. */
  async test(id: RepositoryId): Promise<z.input<typeof RepositoryTest>> {
    const record = await this.find(id)
    const { engine, mounts, secrets } = this.#options
    const place = openPlace(record, secrets)
    const mountName = `test-${newId()}`
    try {
      return await probe(await reachPlaceToWrite(place, mountName, mounts), engine)
    } finally {
      await mounts.detach(mountName)
    }
  }

  /**
   * The open repository, to read, for other capabilities. Fails with `not-found`, `repository-disabled`, or with the reason why
   * it cannot be opened; the next call tries again.
   */
  async open(id: RepositoryId): Promise<{ repository: Repository; chunkBytes: number; name: string }> {
    const record = await this.find(id)
    const { chunkBytes, name } = record
    return { repository: await this.#options.opened.open(record), chunkBytes, name }
  }

  /** The same, to store in it: fails also when nothing can be stored there now. */
  async openToWrite(id: RepositoryId): Promise<{ repository: Repository; chunkBytes: number; name: string }> {
    const record = await this.find(id)
    const { chunkBytes, name } = record
    return { repository: await this.#options.opened.openToWrite(record), chunkBytes, name }
  }

  /** The repository, if it is open now. */
  async ifOpen(id: RepositoryId): Promise<Repository | undefined> {
    const record = await this.#options.store.get(id)
    return record && this.#options.opened.has(id) ? this.#options.opened.open(record) : undefined
  }

  /** Until when a restore point is protected. Fails when the repository is not open to be asked. */
  async protectedUntil(id: RepositoryId, restorePointId: string): Promise<Date | null> {
    const repository = await this.ifOpen(id)
    if (!repository)
      throw new AppError('repository-unavailable', { detail: 'The repository is not open now' })
    return (await repository.protection(restorePointId).catch(throwFromEngine))?.until ?? null
  }

  async find(id: RepositoryId): Promise<RepositoryRecord> {
    const record = await this.#options.store.get(id)
    if (!record) throw new AppError('not-found', { detail: `There is no repository ${id}.` })
    return record
  }

  /**
   * Opens all repositories, after what a killed Hub has left is taken away. One that cannot be opened is logged, and tried
   * again when it is needed. Those whose making was interrupted are looked after.
   */
  async openAll(): Promise<void> {
    const ids = (await this.#options.store.listAll()).map(({ id }) => id)
    await this.#options.mounts.sweep(new Set<string>(ids))
    for (const record of await this.#enabled())
      await this.#options.opened.open(record).catch(error => this.#cannotOpen(record, error))
    await this.#oneByOne(() => settleAll(this.#options)).catch(error =>
      this.#options.log.error('Repositories that were begun cannot be looked for', { error }),
    )
  }

  /** How many repositories should be open and are not. */
  async closedCount(): Promise<number> {
    return (await this.#enabled()).filter(({ id }) => !this.#options.opened.has(id)).length
  }

  close(): Promise<void> {
    return this.#options.opened.closeAll()
  }

  /** Opens it again for whoever needs it next. A place that does not answer keeps nobody waiting. */
  async #openAnew(record: RepositoryRecord): Promise<void> {
    const { opened } = this.#options
    await opened.close(record.id)
    if (record.isEnabled) opened.open(record).catch(error => this.#cannotOpen(record, error))
  }

  #cannotOpen({ name, type }: RepositoryRecord, error: unknown): void {
    this.#options.log.error('A repository cannot be opened', { name, type, error })
  }

  async #enabled(): Promise<RepositoryRecord[]> {
    return (await this.#options.store.listAll()).filter(({ isEnabled }) => isEnabled)
  }

  /** What was checked must still hold when it is done. */
  #oneByOne<T>(change: () => Promise<T>): Promise<T> {
    return this.#changes.run('any repository', change)
  }

  async #changeOf(
    record: RepositoryRecord,
    { name, isEnabled, limits, credentials }: UpdateRepositoryRequest,
  ): Promise<RepositoryChange> {
    const { secrets } = this.#options
    return {
      ...(name !== undefined && { name }),
      ...(isEnabled !== undefined && { isEnabled }),
      ...(limits && { limits: changedLimits(record.limits, limits) }),
      ...(credentials && sealPlace(withCredentials(record, credentials, secrets), record.id, secrets)),
    }
  }

  async #tryCredentials(record: RepositoryRecord): Promise<void> {
    const { opened, mounts } = this.#options
    const mountName = `test-${newId()}`
    try {
      const repository = await opened.openOnce(record, mountName)
      const isSame = repository.id === record.formatId
      await repository.close()
      if (!isSame)
        throw new AppError('conflict', { detail: 'With these credentials another repository is found' })
    } finally {
      await mounts.detach(mountName)
    }
  }

  async #checkUnused({ id, name }: RepositoryRecord): Promise<void> {
    const jobs = (await this.#options.jobs.listUnfinished()).filter(({ input }) => isAbout(input, id))
    const [job] = jobs
    if (!job) return
    const detail = `A job of kind ${job.kind} uses the repository "${name}"; wait for its end, or cancel it`
    throw new AppError('repository-in-use', { detail })
  }

  async #checkEmpty(record: RepositoryRecord): Promise<void> {
    const repository = await this.#options.opened.open({ ...record, isEnabled: true })
    const { length } = await repository.restorePointIds().catch(throwFromEngine)
    if (length === 0) return
    throw new AppError('repository-in-use', {
      detail: `The repository "${record.name}" holds ${length} restore points. Remove them first, or detach it`,
    })
  }
}

function withCredentials(
  record: RepositoryRecord,
  credentials: NonNullable<UpdateRepositoryRequest['credentials']>,
  secrets: Pick<SecretBox, 'open'>,
): NewRepositoryPlace {
  if (credentials.type !== record.type) {
    const detail = `must be those of a repository of type ${record.type}`
    throw new AppError('request-invalid', {
      detail: `The credentials ${detail}`,
      errors: [{ pointer: '/body/credentials/type', detail }],
    })
  }
  const given = Object.fromEntries(Object.entries(credentials).filter(([, value]) => value !== undefined))
  return { ...openPlace(record, secrets), ...given } as NewRepositoryPlace
}

/** The input of each kind of job names the repositories that it works with. */
function isAbout(input: unknown, id: RepositoryId): boolean {
  return typeof input === 'object' && input !== null && Object.values(input).includes(id)
}
