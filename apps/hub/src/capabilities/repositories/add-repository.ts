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
import type { SecretBox } from '../../platform/secrets/secret-box.ts'
import type { RepositoryMounts } from './mounts/repository-mounts.ts'
import type { OpenRepositories } from './open-repositories.ts'
import { probe } from './probe-place.ts'
import { changedLimits, engineLimits, isMounted, makeFolder, reachPlace } from './reach-place.ts'
import type { RepositoriesStore, RepositoryRecord } from './repositories.store.ts'
import { checkFolder, checkRepositoryPath, contains } from './repository-path.ts'
import { passwordContext, sealPlace } from './repository-secrets.ts'

/** Decision 26. */
const CHUNK_BYTES = 256 * 1024
/** Whoever chooses the password of a new repository shall choose a long one. */
const PASSWORD_MIN = 12

export interface AddRepositoryOptions {
  store: RepositoriesStore
  engine: Pick<Engine, 'initRepository' | 'openRepository' | 'probePlace'>
  secrets: Pick<SecretBox, 'seal' | 'open'>
  opened: OpenRepositories
  mounts: RepositoryMounts
  dataDir: string
  clock: Clock
}

/**
 * Makes a repository, or takes an existing one in:
 *
 * 1. What can be wrong with the request is looked for before anything is touched.
 * 2. The place is reached: a share is mounted, remote storage is tried out.
 * 3. The repository is made or opened there.
 * 4. The record is kept. One that was removed earlier gets its old id, so its backups have it back.
 */
export async function addRepository(
  request: CreateRepositoryRequest,
  options: AddRepositoryOptions,
): Promise<{ record: RepositoryRecord; password: string | null }> {
  const { store, mounts, opened } = options
  await checkRequest(request, options)
  const mountName = RepositoryIdSchema.parse(newId())
  const password = request.password ?? randomBytes(32).toString('base64url')
  try {
    const place = await reachPlace(request.place, mountName, mounts)
    if (isMounted(request.place)) await mounts.checkWritable(mountName)
    const repository = await makeOrOpen(place, password, request, options)
    try {
      const known = await store.findRemoved(repository.id)
      const record = recordOf(
        request,
        { known, newId: mountName, password, formatId: repository.id },
        options,
      )
      await (known ? store.restore(record) : store.add(record))
      opened.keep(record.id, repository)
      // Its share is mounted under another name: it is opened again when it is needed.
      if (isMounted(record.place) && record.id !== mountName) await opened.close(record.id)
      if (isMounted(record.place) && record.id !== mountName) await mounts.detach(mountName)
      return { record, password: request.password === undefined ? password : null }
    } catch (error) {
      await repository.close()
      throw error
    }
  } catch (error) {
    await mounts.detach(mountName)
    throw error
  }
}

function recordOf(
  { name, place, chunkBytes, limits }: CreateRepositoryRequest,
  {
    known,
    newId,
    password,
    formatId,
  }: { known: RepositoryRecord | undefined; newId: RepositoryId; password: string; formatId: string },
  { secrets, clock }: AddRepositoryOptions,
): RepositoryRecord {
  const id = known?.id ?? newId
  return {
    id,
    name,
    type: place.type,
    ...sealPlace(place, id, secrets),
    formatId,
    chunkBytes: chunkBytes ?? known?.chunkBytes ?? CHUNK_BYTES,
    sealedPassword: secrets.seal(password, passwordContext(id)),
    sealedNextPassword: null,
    isEnabled: true,
    limits: changedLimits(NO_LIMITS, limits),
    storage: null,
    removedAt: null,
    createdAt: clock.now(),
  }
}

async function checkRequest(
  { name, place, existing, password }: CreateRepositoryRequest,
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
  if (place.type === 'local') await checkRepositoryPath(place.path, { dataDir, existing })
}

function wrongPassword(detail: string): AppError {
  return new AppError('request-invalid', {
    detail: `The password ${detail}`,
    errors: [{ pointer: '/body/password', detail }],
  })
}

async function makeOrOpen(
  place: EnginePlace,
  password: string,
  { existing, limits }: CreateRepositoryRequest,
  { engine }: AddRepositoryOptions,
): Promise<Repository> {
  const location = { place, password, limits: engineLimits(changedLimits(NO_LIMITS, limits)) }
  if (place.type !== 'local') await checkRemote(place, existing, engine)
  if (existing) return engine.openRepository(location).catch(throwFromEngine)
  if (place.type === 'local') await checkFolder(place.path)
  await makeFolder(place)
  try {
    return await engine.initRepository(location)
  } catch (error) {
    // Takes away an empty folder only, so that the next attempt finds what this one found.
    if (place.type === 'local') await rmdir(place.path).catch(() => undefined)
    return throwFromEngine(error)
  }
}

/** Storage elsewhere is tried out first: what is wrong with it is told apart, and nothing is half made. */
async function checkRemote(
  place: EnginePlace,
  existing: boolean,
  engine: Pick<Engine, 'probePlace'>,
): Promise<void> {
  const { isRepository, isEmpty } = await probe(place, engine)
  if (existing || isEmpty) return
  if (isRepository) {
    throw new AppError('repository-exists', {
      detail: 'There is a repository at this place. To use it, add it as an existing one with its password',
    })
  }
  throw new AppError('repository-not-empty', {
    detail: 'Something else is stored there. Give a prefix or folder of its own',
  })
}
