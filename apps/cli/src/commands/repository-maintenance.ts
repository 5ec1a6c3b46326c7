import { type JobId, type PruneRepositoryRequest, VerifyScope } from '@sendense/contracts'
import { type Command, Option } from 'commander'
import { type CommandContext, show } from '../command-context.ts'
import { findRepository, findTarget } from '../find-repository.ts'
import { showStarted } from '../follow-job.ts'
import { formatBytes, formatFields, formatInstant, formatTable } from '../format.ts'
import { parseNumber, parseSize } from '../parse-size.ts'
import { showReport } from '../report-text.ts'

/** `repository stats|verify|prune|repair|locks`. */
export function addMaintenanceCommands(repository: Command, context: CommandContext): void {
  repository
    .command('stats <repository>')
    .description('count what a repository holds: logical, unique and stored bytes')
    .action((wanted: string, _options: unknown, command: Command) => statistics(context, command, wanted))
  repository
    .command('verify <repository>')
    .description('verify a repository')
    .addOption(
      new Option('--scope <scope>', 'how much of it is read').choices(VerifyScope.options).default('sample'),
    )
    .option('--sample <percent>', 'which share of the packs a sample reads', parseNumber, 5)
    .option('--no-wait', 'return as soon as the job has started')
    .action(
      async (
        wanted: string,
        options: { scope: VerifyScope; sample: number; wait: boolean },
        command: Command,
      ) => {
        const { params, repositories } = await findTarget(context, wanted)
        const body = { scope: options.scope, samplePercent: options.sample }
        const { jobId } = await repositories.verifyRepository({ params, body })
        await follow(context, command, jobId, options)
      },
    )
  addPrune(repository, context)
  repository
    .command('repair <repository>')
    .description('repair a repository as far as possible; never removes a restore point')
    .option('--dry-run', 'only tell what would be done')
    .option('--from <repository>', 'another repository to take missing chunks from')
    .option('--no-wait', 'return as soon as the job has started')
    .action(
      async (
        wanted: string,
        options: { dryRun?: boolean; from?: string; wait: boolean },
        command: Command,
      ) => {
        const { params, repositories } = await findTarget(context, wanted)
        const source = options.from === undefined ? undefined : await findRepository(context, options.from)
        const body = { dryRun: options.dryRun === true, ...(source && { sourceRepositoryId: source.id }) }
        const { jobId } = await repositories.repairRepository({ params, body })
        await follow(context, command, jobId, options)
      },
    )
  addLocks(repository, context)
}

interface PruneOptions {
  dryRun?: boolean
  exclusive?: boolean
  graceHours?: number
  waste?: number
  repackMax?: number
  wait: boolean
}

function addPrune(repository: Command, context: CommandContext): void {
  repository
    .command('prune <repository>')
    .description('remove what no restore point needs any more; backups may run meanwhile')
    .option('--dry-run', 'only tell what would be done')
    .option('--exclusive', 'shut everybody else out and remove at once, without a grace')
    .option('--grace-hours <hours>', 'how long unused packs stay', parseNumber)
    .option('--waste <percent>', 'packs whose unused share is larger are packed anew', Number)
    .option('--repack-max <size>', 'how much is packed anew at most', parseSize)
    .option('--no-wait', 'return as soon as the job has started')
    .action(async (wanted: string, options: PruneOptions, command: Command) => {
      const { params, repositories } = await findTarget(context, wanted)
      const body: Partial<PruneRepositoryRequest> = {
        dryRun: options.dryRun === true,
        exclusive: options.exclusive === true,
        ...(options.graceHours !== undefined && { graceHours: options.graceHours }),
        ...(options.waste !== undefined && { wasteRatioMax: options.waste / 100 }),
        ...(options.repackMax !== undefined && { repackBytesMax: options.repackMax }),
      }
      const { jobId } = await repositories.pruneRepository({ params, body })
      await follow(context, command, jobId, options)
    })
}

function addLocks(repository: Command, context: CommandContext): void {
  const locks = repository.command('locks').description('locks on a repository')
  locks
    .command('list <repository>')
    .description('list the locks on a repository')
    .action(async (wanted: string, _options: unknown, command: Command) => {
      const { params, repositories } = await findTarget(context, wanted)
      const found = await repositories.listRepositoryLocks({ params })
      show(context, command, found, () =>
        formatTable(
          ['id', 'since', 'held by', 'for', 'exclusive', 'stale'],
          found.locks.map(lock => [
            lock.id.slice(0, 8),
            formatInstant(lock.createdAt),
            `${lock.username}@${lock.hostname}, ${lock.pid}`,
            lock.role,
            lock.isExclusive ? 'yes' : 'no',
            lock.isStale ? 'yes' : 'no',
          ]),
        ),
      )
    })
  locks
    .command('remove-stale <repository>')
    .description('remove the locks whose holders are gone')
    .action(async (wanted: string, _options: unknown, command: Command) => {
      const { params, repositories } = await findTarget(context, wanted)
      const removed = await repositories.removeStaleLocks({ params })
      show(context, command, removed, () => `Removed ${removed.removedCount}.`)
    })
}

async function statistics(context: CommandContext, command: Command, wanted: string): Promise<void> {
  const { params, repositories } = await findTarget(context, wanted)
  const found = await repositories.getRepositoryStatistics({ params })
  const factor = (value: number | null) => (value === null ? '-' : `${value} : 1`)
  show(context, command, found, () =>
    formatFields([
      ['Restore points', String(found.restorePointCount)],
      ['Logical', formatBytes(found.logicalBytes)],
      ['Unique', `${formatBytes(found.uniqueBytes)} (${factor(found.dedupFactor)})`],
      ['Stored', `${formatBytes(found.storedBytes)} (${factor(found.compressionFactor)})`],
      ['Metadata', formatBytes(found.metadataBytes)],
      ['Unused', found.unusedBytes === null ? 'unknown' : formatBytes(found.unusedBytes)],
      ['Files', `${found.packCount} packs, ${found.indexFileCount} index files, ${found.chunkCount} chunks`],
    ]),
  )
}

/** Waits for a job and shows what it found, or says how to follow it. */
async function follow(
  context: CommandContext,
  command: Command,
  jobId: JobId,
  { wait }: { wait: boolean },
): Promise<void> {
  if (!wait) return showStarted(context, command, { jobId })
  await showReport(context, command, jobId)
}
