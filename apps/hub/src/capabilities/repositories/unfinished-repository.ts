import { rmdir } from 'node:fs/promises'
import { isDeepStrictEqual } from 'node:util'
import { type CreateRepositoryRequest, RepositoryPlace } from '@sendense/contracts'
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

/** Looks after all repositories that were begun, by processes that have died or while their storage was away. */
export async function settleAll(options: UnfinishedOptions): Promise<void> {
  for (const unfinished of await options.store.listUnfinished()) await settleUnfinished(unfinished, options)
}

/** The same for those that a new repository would meet, by name or place. */
export async function settleInTheWay(
  { name, place }: Pick<CreateRepositoryRequest, 'name' | 'place'>,
  options: UnfinishedOptions,
): Promise<void> {
  const wanted = RepositoryPlace.parse(place)
  for (const unfinished of await options.store.listUnfinished()) {
    if (unfinished.name === name || isDeepStrictEqual(unfinished.place, wanted))
      await settleUnfinished(unfinished, options)
  }
}

/**
 * Finds out whether a repository that was begun is there. If it is, it becomes one like all others; if there is none, or
 * one that is not ours, it is given up. While its place cannot be reached it stays as it is.
 */
export async function settleUnfinished(
  unfinished: UnfinishedRepository,
  options: UnfinishedOptions,
): Promise<RepositoryRecord | undefined> {
  const { opened, mounts, log } = options
  const { id, name, type } = unfinished
  try {
    const repository = await opened.openOnce(recordOf(unfinished, ''), id)
    const record = await finishRepository(await withFreeName(unfinished, options), repository, options)
    log.warn('A repository whose making was interrupted is there', { repositoryId: id, name, type })
    return record
  } catch (error) {
    await mounts.detach(id)
    if (isNotOurs(error)) await giveUp(unfinished, options)
    else log.warn('Whether a repository that was begun is there is not known', { name, type, error })
    return undefined
  }
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

/** There is no repository, or one that another password opens, or it is known by another record. */
function isNotOurs(error: unknown): boolean {
  const codes = ['repository-not-found', 'repository-password-wrong', 'repository-exists']
  return error instanceof AppError && codes.includes(error.code)
}

async function giveUp({ id, place }: UnfinishedRepository, { store }: UnfinishedOptions): Promise<void> {
  await store.giveUp(id)
  // An empty folder only.
  if (place.type === 'local') await rmdir(place.path).catch(() => undefined)
}

/** Somebody may have taken the name meanwhile. */
async function withFreeName(
  unfinished: UnfinishedRepository,
  { store }: Pick<UnfinishedOptions, 'store'>,
): Promise<UnfinishedRepository> {
  const { id, name } = unfinished
  return (await store.findByName(name)) ? { ...unfinished, name: `${name.slice(0, 60)} ${id}` } : unfinished
}
