import { randomBytes } from 'node:crypto'
import { rmdir } from 'node:fs/promises'
import {
  type CreateRepositoryRequest,
  NO_LIMITS,
  type RepositoryId,
  RepositoryId as RepositoryIdSchema,
} from '@sendense/contracts'
import type { RepositoryPlace as EnginePlace, Repository } from '@sendense/engine'
import { AppError, type Clock, newId } from '@sendense/platform'
import type { Engine } from '../../platform/engine/engine.ts'
import { throwFromEngine } from '../../platform/engine/engine-problem.ts'
import { probe } from './probe-place.ts'
import { changedLimits, engineLimits, isMounted, makeFolder, reachPlaceToWrite } from './reach-place.ts'
import type { RepositoryRecord, UnfinishedRepository } from './repositories.store.ts'
import { checkFolder, checkRepositoryPath, contains } from './repository-path.ts'
import { passwordContext, sealPlace } from './repository-secrets.ts'
import {
  finishRepository,
  recordOf,
  settleInTheWay,
  settleUnfinished,
  type UnfinishedOptions,
} from './unfinished-repository.ts'

/** Decision 26. */
const CHUNK_BYTES = 256 * 1024
/** Whoever chooses the password of a new repository shall choose a long one. */
const PASSWORD_MIN = 12

export type AddRepositoryOptions = UnfinishedOptions & {
  engine: Pick<Engine, 'initRepository' | 'openRepository' | 'probePlace'>
  dataDir: string
  clock: Clock
}

interface Added {
  readonly record: RepositoryRecord
  /** One that was made up. */
  readonly password: string | null
}

/**
 * Makes a repository, or takes an existing one in:
 *
 * 1. What can be wrong with the request is looked for before anything is touched.
 * 2. The place is reached: a share is mounted, remote storage is tried out.
 * 3. The repository is made or opened there. The password of one that is made is kept before: whatever happens, there is
 *    no repository that nobody can open.
 * 4. The record is kept. One that was removed earlier gets its old id, so its backups have it back.
 */
export async function addRepository(
  request: CreateRepositoryRequest,
  options: AddRepositoryOptions,
): Promise<Added> {
  const begun = await settleInTheWay(request, options)
  const isBegun = begun.length > 0
  await checkRequest(request, isBegun, options)
  const id = RepositoryIdSchema.parse(newId())
  try {
    const place = await reachPlaceToWrite(request.place, id, options.mounts)
    if (place.type !== 'local') await checkRemote(place, request.existing, isBegun, options.engine)
    else if (!request.existing) await checkFolder(place.path, isBegun)
    const added = await (request.existing
      ? takeIn(request, place, id, options)
      : make(request, place, id, options))
    // What is there now is what was added.
    for (const one of begun) await options.store.giveUp(one.id)
    return added
  } catch (error) {
    await options.mounts.detach(id)
    throw error
  }
}

async function make(
  request: CreateRepositoryRequest,
  place: EnginePlace,
  id: RepositoryId,
  options: AddRepositoryOptions,
): Promise<Added> {
  const password = request.password ?? randomBytes(32).toString('base64url')
  const unfinished = draftOf(request, { id, password, chunkBytes: CHUNK_BYTES }, options)
  await options.store.begin(unfinished)
  const record = await makeAndKeep(place, password, unfinished, options)
  return { record, password: request.password === undefined ? password : null }
}

async function makeAndKeep(
  place: EnginePlace,
  password: string,
  unfinished: UnfinishedRepository,
  options: AddRepositoryOptions,
): Promise<RepositoryRecord> {
  try {
    const repository = await init(place, password, unfinished, options)
    return await finishRepository(unfinished, repository, options)
  } catch (error) {
    // An answer may be lost, so that it is there all the same.
    await options.mounts.detach(unfinished.id)
    const found = await settleUnfinished(unfinished, options)
    if (typeof found === 'object') return found
    if (found === 'not found' && isRefusal(error)) await options.store.giveUp(unfinished.id)
    throw error
  }
}

/** Whether the place has said no. Of one that did not answer, a write may still come to pass. */
function isRefusal(error: unknown): boolean {
  const silent = ['storage-unreachable', 'repository-unavailable', 'internal']
  return error instanceof AppError && !silent.includes(error.code)
}

async function init(
  place: EnginePlace,
  password: string,
  { limits }: UnfinishedRepository,
  { engine }: AddRepositoryOptions,
): Promise<Repository> {
  await makeFolder(place)
  try {
    return await engine.initRepository({ place, password, limits: engineLimits(limits) })
  } catch (error) {
    // Takes away an empty folder only, so that the next attempt finds what this one found.
    if (place.type === 'local') await rmdir(place.path).catch(() => undefined)
    return throwFromEngine(error)
  }
}

async function takeIn(
  request: CreateRepositoryRequest,
  place: EnginePlace,
  mountName: RepositoryId,
  options: AddRepositoryOptions,
): Promise<Added> {
  const { store, mounts, opened, engine } = options
  const { password = '', limits } = request
  const location = { place, password, limits: engineLimits(changedLimits(NO_LIMITS, limits)) }
  const repository = await engine.openRepository(location).catch(throwFromEngine)
  try {
    const known = await store.findRemoved(repository.id)
    const id = known?.id ?? mountName
    const chunkBytes = known?.chunkBytes ?? CHUNK_BYTES
    const record = recordOf(draftOf(request, { id, password, chunkBytes }, options), repository.id)
    await (known ? store.restore(record) : store.add(record))
    opened.keep(record.id, repository)
    // Its share is mounted under another name: it is opened again when it is needed.
    if (isMounted(record.place) && record.id !== mountName) await opened.close(record.id)
    if (isMounted(record.place) && record.id !== mountName) await mounts.detach(mountName)
    return { record, password: null }
  } catch (error) {
    await repository.close()
    throw error
  }
}

function draftOf(
  { name, place, chunkBytes, limits }: CreateRepositoryRequest,
  usual: { id: RepositoryId; password: string; chunkBytes: number },
  { secrets, clock }: AddRepositoryOptions,
): UnfinishedRepository {
  const { id, password } = usual
  return {
    id,
    name,
    type: place.type,
    ...sealPlace(place, id, secrets),
    chunkBytes: chunkBytes ?? usual.chunkBytes,
    sealedPassword: secrets.seal(password, passwordContext(id)),
    limits: changedLimits(NO_LIMITS, limits),
    createdAt: clock.now(),
  }
}

async function checkRequest(
  { name, place, existing, password }: CreateRepositoryRequest,
  isBegun: boolean,
  { store, dataDir }: AddRepositoryOptions,
): Promise<void> {
  if (existing && password === undefined)
    throw wrongPassword('is required to add a repository that exists already')
  if (!existing && password !== undefined && password.length < PASSWORD_MIN)
    throw wrongPassword(`of a new repository must have ${PASSWORD_MIN} characters or more`)
  for (const one of await store.listAll()) {
    if (one.name === name)
      throw new AppError('conflict', { detail: `There is a repository "${name}" already` })
    if (place.type !== 'local' || one.place.type !== 'local') continue
    if (contains(one.place.path, place.path) || contains(place.path, one.place.path)) {
      throw new AppError('repository-exists', {
        detail: `The repository "${one.name}" is at ${one.place.path}`,
      })
    }
  }
  if (place.type === 'local') await checkRepositoryPath(place.path, { dataDir, existing, isBegun })
}

function wrongPassword(detail: string): AppError {
  return new AppError('request-invalid', {
    detail: `The password ${detail}`,
    errors: [{ pointer: '/body/password', detail }],
  })
}

/** Storage elsewhere is tried out first: what is wrong with it is told apart, and nothing is half made. */
async function checkRemote(
  place: EnginePlace,
  existing: boolean,
  isBegun: boolean,
  engine: Pick<Engine, 'probePlace'>,
): Promise<void> {
  const { isRepository, isEmpty } = await probe(place, engine)
  if (existing || isEmpty || (isBegun && !isRepository)) return
  if (isRepository) {
    throw new AppError('repository-exists', {
      detail: 'There is a repository at this place. To use it, add it as an existing one with its password',
    })
  }
  throw new AppError('repository-not-empty', {
    detail: 'Something else is stored there. Give a prefix or folder of its own',
  })
}
