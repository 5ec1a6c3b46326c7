import { isDeepStrictEqual } from 'node:util'
import { type CreateRepositoryRequest, type RepositoryId, RepositoryPlace } from '@sendense/contracts'
import type { Repository } from '@sendense/engine'
import { AppError, type Logger } from '@sendense/platform'
import type { SecretBox } from '../../platform/secrets/secret-box.ts'
import type { RepositoryMounts } from './mounts/repository-mounts.ts'
import type { OpenRepositories } from './open-repositories.ts'
import type { RepositoriesStore, RepositoryRecord, UnfinishedRepository } from './repositories.store.ts'

export interface UnfinishedOptions {
  store: RepositoriesStore
  secrets: Pick<SecretBox, 'seal' | 'open'>
  opened: OpenRepositories
  mounts: RepositoryMounts
  log: Logger
}

/** Looks after repositories that were begun, by processes that have died or while their storage was away. */
export async function settleAll(
  options: UnfinishedOptions,
  isMeant: (unfinished: UnfinishedRepository) => boolean = () => true,
): Promise<void> {
  const meant = (await options.store.listUnfinished()).filter(isMeant)
  for (const unfinished of meant) await settleUnfinished(unfinished, options)
}

/**
 * The same for those that a new repository would meet, by name or place. Returns those that stay begun at its place: they
 * found it empty once, and what they may have left there is in nobody's way.
 */
export async function settleInTheWay(
  { name, place }: Pick<CreateRepositoryRequest, 'name' | 'place'>,
  options: UnfinishedOptions,
): Promise<UnfinishedRepository[]> {
  const wanted = RepositoryPlace.parse(place)
  const isThere = (one: UnfinishedRepository) => isDeepStrictEqual(one.place, wanted)
  await settleAll(options, one => one.name === name || isThere(one))
  return (await options.store.listUnfinished()).filter(isThere)
}

/**
 * Finds out whether a repository that was begun is there. If it is, it becomes one like all others. If none is found it
 * stays begun: a disk that is not mounted yet, or a write whose answer was lost, looks just so, and what is kept is the
 * only password. Only a person can say that nothing is to come. Never rejects.
 */
export async function settleUnfinished(
  unfinished: UnfinishedRepository,
  options: UnfinishedOptions,
): Promise<RepositoryRecord | 'not found' | 'not known'> {
  const { opened, mounts, store, log } = options
  const { id, name, type } = unfinished
  try {
    const free = await withFreeName(unfinished, options)
    const record = await finishRepository(free, await opened.openOnce(recordOf(free, ''), id), options)
    log.warn('A repository whose making was interrupted is there', { repositoryId: id, name, type })
    return record
  } catch (error) {
    const fix = `Bring its place back, add a repository there anew, or give it up: "sendense repository remove ${id}"`
    log.warn('A repository that was begun was not found', { repositoryId: id, name, type, fix, error })
    const cleanUp = async () => {
      await mounts.detach(id)
      // By another record, which has a password too.
      if (AppError.is(error, 'repository-exists')) await store.giveUp(id)
    }
    await cleanUp().catch(cause => log.error('A repository that was begun cannot be let go', { name, cause }))
    return AppError.is(error, 'repository-not-found') ? 'not found' : 'not known'
  }
}

/**
 * Gives up one that was begun, because a person says so: its password is gone then. Not when it turns out to be there:
 * then it is a repository like all others, and `undefined` is the answer, as when none was begun. Fails with
 * `repository-unavailable` when its place cannot be asked, unless that shall not matter.
 */
export async function giveUpUnfinished(
  id: RepositoryId,
  { detach }: { detach: boolean },
  options: UnfinishedOptions,
): Promise<UnfinishedRepository | undefined> {
  const find = async () => (await options.store.listUnfinished()).find(one => one.id === id)
  const unfinished = await find()
  if (!unfinished) return undefined
  const found = await settleUnfinished(unfinished, options)
  if (typeof found === 'object') return undefined
  if (found === 'not known' && !detach && (await find())) {
    const detail = 'Its place does not say whether it is there. Bring the place back, or detach it'
    throw new AppError('repository-unavailable', { detail })
  }
  await options.store.giveUp(id)
  return unfinished
}

/** Makes one that is there a repository like all others. */
export async function finishRepository(
  unfinished: UnfinishedRepository,
  repository: Repository,
  { store, opened }: Pick<UnfinishedOptions, 'store' | 'opened'>,
): Promise<RepositoryRecord> {
  const record = recordOf(unfinished, repository.id)
  try {
    await store.finish(record)
  } catch (error) {
    await repository.close()
    throw error
  }
  opened.keep(record.id, repository)
  return record
}

/** The record of a repository that nothing is known of yet but how it is reached. */
export function recordOf(unfinished: UnfinishedRepository, formatId: string): RepositoryRecord {
  const fresh = { sealedNextPassword: null, isEnabled: true, storage: null, removedAt: null }
  return { ...unfinished, ...fresh, formatId }
}

/** Somebody may have taken the name meanwhile. */
async function withFreeName(
  unfinished: UnfinishedRepository,
  { store }: Pick<UnfinishedOptions, 'store'>,
): Promise<UnfinishedRepository> {
  const { id, name } = unfinished
  return (await store.findByName(name)) ? { ...unfinished, name: `${name.slice(0, 60)} ${id}` } : unfinished
}
