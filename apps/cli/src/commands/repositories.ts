import { type RepositoryStorage, RepositoryType } from '@sendense/contracts'
import { type Command, Option } from 'commander'
import { CliError } from '../cli-error.ts'
import { type CommandContext, show } from '../command-context.ts'
import { findRepository, findTarget, findToRemove, listRepositories } from '../find-repository.ts'
import { formatBytes, formatFields, formatInstant, formatTable } from '../format.ts'
import { parseLimit } from '../parse-size.ts'
import { placeText, repositoryText, stateText, usedText } from '../repository-text.ts'
import { addAddCommands, limitsOf, testText } from './repository-add.ts'
import { addKeyCommands } from './repository-keys.ts'
import { addMaintenanceCommands } from './repository-maintenance.ts'

interface UpdateOptions {
  name?: string
  enable?: boolean
  disable?: boolean
  readLimit?: number | null
  writeLimit?: number | null
  quota?: number | null
  reserve?: number | null
}

/** `repository add|list|show|update|remove|test|storage|summary|stats|…`. */
export function addRepositoryCommands(program: Command, context: CommandContext): void {
  const repository = program
    .command('repository')
    .alias('repo')
    .description('repositories that hold restore points')
  addAddCommands(repository, context)
  addLooks(repository, context)
  addChanges(repository, context)
  addMaintenanceCommands(repository, context)
  addKeyCommands(repository, context)
}

function addLooks(repository: Command, context: CommandContext): void {
  repository
    .command('list')
    .description('list the repositories')
    .addOption(new Option('--type <type>', 'only of this type').choices(RepositoryType.options))
    .action(async (filter: { type?: RepositoryType }, command: Command) => {
      const all = await listRepositories(context, filter)
      show(context, command, all, () =>
        formatTable(
          ['id', 'name', 'type', 'place', 'used', 'state'],
          all.map(one => [one.id, one.name, one.type, placeText(one), usedText(one.storage), stateText(one)]),
        ),
      )
    })
  repository
    .command('show <repository>')
    .description('show one repository')
    .action(async (wanted: string, _options: unknown, command: Command) => {
      const found = await findRepository(context, wanted)
      show(context, command, found, () => repositoryText(found))
    })
  repository
    .command('storage <repository>')
    .description('measure how much a repository holds')
    .action((wanted: string, _options: unknown, command: Command) => storage(context, command, wanted))
  repository
    .command('summary')
    .description('add up what all repositories hold, and tell which are short of space')
    .option('--refresh', 'measure all of them first')
    .action((options: { refresh?: boolean }, command: Command) => summary(context, command, options))
  repository
    .command('test <repository>')
    .description('try the place of a repository out: write, read, list and remove a small file')
    .action(async (wanted: string, _options: unknown, command: Command) => {
      const { params, repositories } = await findTarget(context, wanted)
      const found = await repositories.testRepository({ params })
      show(context, command, found, () => testText(found))
    })
}

function addChanges(repository: Command, context: CommandContext): void {
  repository
    .command('update <repository>')
    .description('change the name or the limits of a repository, or turn it off and on')
    .option('--name <name>', 'new name')
    .option('--enable', 'turn it on')
    .option('--disable', 'turn it off')
    .option('--read-limit <size>', 'bytes a second that are read at most, or "none"', parseLimit)
    .option('--write-limit <size>', 'bytes a second that are written at most, or "none"', parseLimit)
    .option('--quota <size>', 'how much it may hold, or "none"', parseLimit)
    .option('--reserve <size>', 'how much must stay free at its place, or "none"', parseLimit)
    .action((wanted: string, options: UpdateOptions, command: Command) =>
      update(context, command, wanted, options),
    )
  repository
    .command('remove <repository>')
    .description(
      'remove a repository from the Hub, also one whose making was interrupted, by its id; nothing at its place is touched',
    )
    .option('--detach', 'also when it holds restore points or cannot be reached')
    .action(async (wanted: string, { detach }: { detach?: boolean }) => {
      const { id, name } = await findToRemove(context, wanted)
      const input = { params: { repositoryId: id }, query: { detach: detach ? 'true' : 'false' } } as const
      await (await context.client()).repositories.deleteRepository(input)
      context.terminal.remark(`Removed ${name}. What lies at its place is still there.`)
    })
}

async function update(
  context: CommandContext,
  command: Command,
  wanted: string,
  options: UpdateOptions,
): Promise<void> {
  const { name, enable, disable } = options
  if (enable && disable) throw new CliError('usage', '--enable and --disable exclude each other.')
  const limits = limitsOf(options)
  const body = {
    ...(name !== undefined && { name }),
    ...((enable || disable) && { isEnabled: enable === true }),
    ...(Object.keys(limits).length > 0 && { limits }),
  }
  const { params, repositories } = await findTarget(context, wanted)
  const changed = await repositories.updateRepository({ params, body })
  show(context, command, changed, () => repositoryText(changed))
}

async function storage(context: CommandContext, command: Command, wanted: string): Promise<void> {
  const { id, name } = await findRepository(context, wanted)
  const found = await (await context.client()).repositories.getRepositoryStorage({
    params: { repositoryId: id },
  })
  show(context, command, found, () =>
    formatFields([
      ['Repository', name],
      ['Used', formatBytes(found.usedBytes)],
      ['Free', freeText(found)],
      ['Room', found.space],
      ['Holds', `${found.restorePointCount} restore points, ${formatBytes(found.logicalBytes)} of disks`],
      ['Measured', formatInstant(found.checkedAt)],
    ]),
  )
}

async function summary(context: CommandContext, command: Command, { refresh }: { refresh?: boolean }) {
  const { repositories } = await context.client()
  if (refresh) {
    const { results } = await repositories.refreshAllStorage()
    for (const { repositoryId, failure } of results) {
      if (failure) context.terminal.remark(`${repositoryId}: ${failure.detail} (${failure.code})`)
    }
  }
  const found = await repositories.getStorageSummary()
  show(context, command, found, () =>
    [
      formatFields([
        ['Repositories', `${found.repositoryCount}, ${found.unavailableCount} of them not available`],
        ['Used', formatBytes(found.usedBytes)],
        ['Free', `${formatBytes(found.freeBytes)} of ${formatBytes(found.totalBytes)}`],
        ['Holds', `${found.restorePointCount} restore points, ${formatBytes(found.logicalBytes)} of disks`],
        ['Measured', formatInstant(found.oldestCheckAt)],
      ]),
      ...found.short.map(({ name, space, freeBytes }) => {
        const left = freeBytes === null ? '' : `, ${formatBytes(freeBytes)} left`
        return `${name} is ${space === 'full' ? 'full' : 'low on space'}${left}`
      }),
    ].join('\n'),
  )
}

function freeText({ freeBytes, totalBytes }: RepositoryStorage): string {
  if (freeBytes === null) return 'unknown'
  return totalBytes === null
    ? formatBytes(freeBytes)
    : `${formatBytes(freeBytes)} of ${formatBytes(totalBytes)}`
}
