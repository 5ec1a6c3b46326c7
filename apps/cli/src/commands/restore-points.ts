import { type Backup, ForgetReport, type RetentionRules } from '@sendense/contracts'
import type { Command } from 'commander'
import { CliError } from '../cli-error.ts'
import { type CommandContext, show } from '../command-context.ts'
import { findRepository } from '../find-repository.ts'
import { followJob, showStarted } from '../follow-job.ts'
import { formatInstant, formatTable } from '../format.ts'
import { parseNumber } from '../parse-size.ts'
import { parseTags } from '../parse-tags.ts'
import { backupTable, statusText, toBackupId } from './backups.ts'
import { findVm } from './vms.ts'

type RuleOptions = { -readonly [K in keyof RetentionRules]?: number }
interface ForgetOptions extends RuleOptions {
  vm?: string[]
  tag?: string[]
  timeZone?: string
  dryRun?: boolean
  wait: boolean
}

/** `backup copy|copies|delete|forget`. */
export function addRestorePointCommands(backup: Command, context: CommandContext): void {
  backup
    .command('copy <backup>')
    .description('copy the restore point of a backup to another repository, and verify it there')
    .requiredOption('--to <repository>', 'where to')
    .option('--no-wait', 'return as soon as the job has started')
    .action(async (id: string, { to, wait }: { to: string; wait: boolean }, command: Command) => {
      const params = { backupId: toBackupId(id) }
      const { id: repositoryId } = await findRepository(context, to)
      const { backups } = await context.client()
      const started = await backups.copyBackup({ params, body: { repositoryId } })
      if (!wait) return showStarted(context, command, started)
      await followJob(context, command, started.jobId)
      const copy = await backups.getBackup({ params: { backupId: started.backupId } })
      show(context, command, copy, () => backupTable([copy]))
    })
  backup
    .command('copies <backup>')
    .description('list the copies of a backup')
    .action(async (id: string, _options: unknown, command: Command) => {
      const params = { backupId: toBackupId(id) }
      const found = await (await context.client()).backups.listBackupCopies({ params })
      show(context, command, found, () => copyTable(found.copies))
    })
  backup
    .command('delete <backup>')
    .description('remove the restore point of a backup; its bytes go with the next prune')
    .action(async (id: string) => {
      const params = { backupId: toBackupId(id) }
      await (await context.client()).backups.deleteBackup({ params })
      context.terminal.remark(`Removed the restore point of ${id}.`)
    })
  addForget(backup, context)
}

function addForget(backup: Command, context: CommandContext): void {
  backup
    .command('forget <repository>')
    .description('remove the restore points that no rule keeps; each VM by itself')
    .option('--keep-last <n>', 'keep so many of the newest', parseNumber)
    .option('--keep-hourly <n>', 'keep the newest of so many hours', parseNumber)
    .option('--keep-daily <n>', 'keep the newest of so many days', parseNumber)
    .option('--keep-weekly <n>', 'keep the newest of so many weeks', parseNumber)
    .option('--keep-monthly <n>', 'keep the newest of so many months', parseNumber)
    .option('--keep-yearly <n>', 'keep the newest of so many years', parseNumber)
    .option(
      '--keep-within-days <days>',
      'keep all that are at most so much older than the newest',
      parseNumber,
    )
    .option('--vm <vm...>', 'only of these VMs')
    .option('--tag <name=value...>', 'only backups that carry these labels')
    .option(
      '--time-zone <zone>',
      'time zone that days are counted in, such as Europe/Berlin; UTC when absent',
    )
    .option('--dry-run', 'only tell which ones would go')
    .option('--no-wait', 'return as soon as the job has started')
    .action((wanted: string, options: ForgetOptions, command: Command) =>
      forget(context, command, wanted, options),
    )
}

async function forget(context: CommandContext, command: Command, wanted: string, options: ForgetOptions) {
  const rules = Object.fromEntries(Object.entries(options).filter(([name]) => name.startsWith('keep')))
  if (Object.keys(rules).length === 0)
    throw new CliError('usage', 'Give one rule at least, such as --keep-daily 7.')
  const { id: repositoryId } = await findRepository(context, wanted)
  const vmIds = await Promise.all((options.vm ?? []).map(async vm => (await findVm(context, vm)).id))
  const { jobId } = await (await context.client()).backups.forgetRestorePoints({
    params: { repositoryId },
    body: {
      rules,
      tags: parseTags(options.tag),
      dryRun: options.dryRun === true,
      ...(vmIds.length > 0 && { vmIds }),
      ...(options.timeZone !== undefined && { timeZone: options.timeZone }),
    },
  })
  if (!options.wait) return showStarted(context, command, { jobId })
  const { result } = await followJob(context, command, jobId)
  show(context, command, result, () => reportText(ForgetReport.parse(result)))
}

function reportText(report: ForgetReport): string {
  const table = formatTable(
    ['backup', 'vm', 'captured', 'stays', 'because'],
    report.restorePoints.map(point => [
      point.backupId,
      point.vmName,
      formatInstant(point.capturedAt),
      point.isKept ? 'yes' : 'no',
      point.protectedUntil === null
        ? point.reasons.join(', ') || 'no rule keeps it'
        : `protected until ${formatInstant(point.protectedUntil)}`,
    ]),
  )
  const { isDryRun, removedCount, keptCount, unknownCount } = report
  const others = unknownCount === 0 ? '' : ` ${unknownCount} of other origin were left alone.`
  return `${table}\n\n${keptCount} stay, ${removedCount} ${isDryRun ? 'would go' : 'are gone'}.${others}`
}

function copyTable(copies: readonly Backup[]): string {
  return formatTable(
    ['id', 'repository', 'status', 'finished', 'verified'],
    copies.map(one => [
      one.id,
      one.repositoryId,
      statusText(one),
      formatInstant(one.finishedAt),
      formatInstant(one.verifiedAt),
    ]),
  )
}
