import type { Repository } from '@sendense/contracts'
import type { CommandContext } from './command-context.ts'
import { everyPage, findByName } from './find-by-name.ts'

/** All repositories, by name. */
export async function listRepositories(context: CommandContext): Promise<Repository[]> {
  const client = await context.client()
  return everyPage(page => client.repositories.listRepositories({ query: page }))
}

/** The repository with this id or name. */
export async function findRepository(context: CommandContext, wanted: string): Promise<Repository> {
  return findByName('repository', wanted, await listRepositories(context))
}
