import type { Repository, RepositoryType } from '@sendense/contracts'
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

/** What a call about the repository with this id or name takes. */
export async function findTarget(context: CommandContext, wanted: string) {
  const { id } = await findRepository(context, wanted)
  const { repositories } = await context.client()
  return { params: { repositoryId: id }, repositories }
}
