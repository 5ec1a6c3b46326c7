import { type Repository, RepositoryId, type RepositoryType } from '@sendense/contracts'
import type { CommandContext } from './command-context.ts'
import { everyPage, findByName } from './find-by-name.ts'

/** All repositories, by name. */
export async function listRepositories(
  context: CommandContext,
  filter: { type?: RepositoryType } = {},
): Promise<Repository[]> {
  const client = await context.client()
  return everyPage(page => client.repositories.listRepositories({ query: { ...page, ...filter } }))
}

/** The repository with this id or name. */
export async function findRepository(context: CommandContext, wanted: string): Promise<Repository> {
  return findByName('repository', wanted, await listRepositories(context))
}

/** What shall be removed: one whose making was interrupted is in no list, so its id is taken as it is. */
export async function findToRemove(
  context: CommandContext,
  wanted: string,
): Promise<Pick<Repository, 'id' | 'name'>> {
  const all = await listRepositories(context)
  const unlisted = RepositoryId.safeParse(wanted)
  const isListed = all.some(({ id, name }) => wanted === id || wanted === name)
  if (unlisted.success && !isListed) return { id: unlisted.data, name: wanted }
  return findByName('repository', wanted, all)
}

/** What a call about the repository with this id or name takes. */
export async function findTarget(context: CommandContext, wanted: string) {
  const { id } = await findRepository(context, wanted)
  const { repositories } = await context.client()
  return { params: { repositoryId: id }, repositories }
}
