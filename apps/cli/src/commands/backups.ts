import { type Backup, type BackupDetails, BackupId, BackupStatus, type Reason } from '@sendense/contracts'
import { type Command, Option } from 'commander'
import { CliError } from '../cli-error.ts'
import { type CommandContext, isJson, show } from '../command-context.ts'
import { everyPage } from '../find-by-name.ts'
import { findRepository } from '../find-repository.ts'
import { followJob, showStarted } from '../follow-job.ts'
import { formatBytes, formatFields, formatInstant, formatTable } from '../format.ts'
import { parseSize } from '../parse-size.ts'
import { parseTags } from '../parse-tags.ts'
import { showReport } from '../report-text.ts'
import { findVm } from './vms.ts'

interface RunOptions {
  repo: string
  full?: boolean
  quiesce?: boolean
  rateMax?: number
  tag?: string[]
  wait: boolean
}

/** `backup run|list|show|chain|changeid|verify`. */
export function addBackupCommands(program: Command, context: CommandContext): Command {
  const backup = program.command('backup').description('back up VMs and look at what there is')
  backup
    .command('run <vm>')
    .description('back up a VM and wait for the end')
    .requiredOption('--repo <repository>', 'where to')
    .option('--full', 'read everything instead of what changed')
    .option('--quiesce', 'quiesce the guest')
    .option('--rate-max <size>', 'bytes a second that the Node sends at most', parseSize)
    .option('--tag <name=value...>', 'labels to keep with the backup')
    .option('--no-wait', 'return as soon as the job has started')
    .action((vm: string, options: RunOptions, command: Command) => run(context, command, vm, options))
  addLists(backup, context)
  backup
    .command('show <backup>')
    .description('show one backup with its disks and reasons')
    .action(async (id: string, _options: unknown, command: Command) => {
      await showBackup(context, command, toBackupId(id))
    })
  backup
    .command('verify <backup>')
    .description('read every byte of a restore point back and compare the hashes')
    .option('--no-wait', 'return as soon as the job has started')
    .action(async (id: string, { wait }: { wait: boolean }, command: Command) => {
      const started = await (await context.client()).backups.verifyBackup({
        params: { backupId: toBackupId(id) },
      })
      if (!wait) return showStarted(context, command, started)
      await showReport(context, command, started.jobId)
      context.terminal.remark('Verified: every byte was read back and matches its hash.')
    })
  return backup
}

function addLists(backup: Command, context: CommandContext): void {
  backup
    .command('list')
    .description('list the backups, newest first')
    .option('--vm <vm>', 'only of this VM')
    .option('--repo <repository>', 'only in this repository')
    .addOption(new Option('--status <status>', 'only in this status').choices(BackupStatus.options))
    .action(async (options: { vm?: string; repo?: string; status?: BackupStatus }, command: Command) => {
      const client = await context.client()
      const filter = {
        ...(options.vm !== undefined && { vmId: (await findVm(context, options.vm)).id }),
        ...(options.repo !== undefined && { repositoryId: (await findRepository(context, options.repo)).id }),
        ...(options.status !== undefined && { status: options.status }),
      }
      const all = await everyPage(page => client.backups.listBackups({ query: { ...page, ...filter } }))
      show(context, command, all, () => backupTable(all))
    })
  backup
    .command('chain <vm>')
    .description('list the restore points of a VM in one repository, oldest first')
    .requiredOption('--repo <repository>', 'which repository')
    .action(async (vm: string, { repo }: { repo: string }, command: Command) => {
      const query = {
        vmId: (await findVm(context, vm)).id,
        repositoryId: (await findRepository(context, repo)).id,
      }
      const chain = await (await context.client()).backups.getBackupChain({ query })
      show(context, command, chain, () => backupTable(chain.backups))
    })
  backup
    .command('changeid <vm>')
    .description('show the change id that the next incremental of a disk starts from')
    .requiredOption('--repo <repository>', 'which repository')
    .requiredOption('--disk <key>', 'device key of the disk', toDiskKey)
    .action(async (vm: string, { repo, disk }: { repo: string; disk: number }, command: Command) => {
      const query = {
        vmId: (await findVm(context, vm)).id,
        repositoryId: (await findRepository(context, repo)).id,
        diskKey: disk,
      }
      const found = await (await context.client()).backups.getChangeId({ query })
      show(context, command, found, () => found.changeId)
    })
}

async function run(
  context: CommandContext,
  command: Command,
  vm: string,
  options: RunOptions,
): Promise<void> {
  const tags = parseTags(options.tag)
  const body = {
    tags,
    vmId: (await findVm(context, vm)).id,
    repositoryId: (await findRepository(context, options.repo)).id,
    mode: options.full ? ('full' as const) : ('auto' as const),
    quiesce: options.quiesce === true,
    ...(options.rateMax !== undefined && { bytesPerSecondMax: options.rateMax }),
  }
  const started = await (await context.client()).backups.startBackup({ body })
  if (!options.wait) return showStarted(context, command, started)
  await followJob(context, command, started.jobId)
  await showBackup(context, command, started.backupId)
}

async function showBackup(context: CommandContext, command: Command, backupId: BackupId): Promise<void> {
  const backup = await (await context.client()).backups.getBackup({ params: { backupId } })
  show(context, command, backup, () => backupText(backup))
  if (!isJson(command) && backup.failure)
    context.terminal.remark(`${backup.failure.detail} (${backup.failure.code})`)
}

/** Checks what was typed before it is sent. */
export function toBackupId(text: string): BackupId {
  const parsed = BackupId.safeParse(text)
  if (!parsed.success) throw new CliError('usage', `"${text}" is no backup id; see: sendense backup list`)
  return parsed.data
}

/** A device key, such as 2000. */
export function toDiskKey(text: string): number {
  const key = Number(text)
  if (!Number.isInteger(key))
    throw new CliError('usage', `"${text}" is no device key; see: sendense vms show`)
  return key
}

/** Backups, one a line. */
export function backupTable(all: readonly Backup[]): string {
  return formatTable(
    ['id', 'vm', 'captured', 'status', 'mode', 'read', 'new', 'stored'],
    all.map(one => [
      one.id,
      one.vmName,
      formatInstant(one.capturedAt),
      statusText(one),
      one.mode ?? '-',
      formatBytes(one.bytes.readBytes),
      formatBytes(one.bytes.newBytes),
      formatBytes(one.bytes.storedBytes),
    ]),
  )
}

/** The status, and what is wrong with a restore point that is there. */
export function statusText({ status, damagedAt }: Pick<Backup, 'status' | 'damagedAt'>): string {
  return status === 'succeeded' && damagedAt !== null ? 'damaged' : status
}

function backupText(backup: BackupDetails): string {
  const { bytes } = backup
  const fields = formatFields([
    ['Id', backup.id],
    ['VM', backup.vmName],
    ['Status', statusText(backup)],
    ['Restore point', backup.restorePointId ?? '-'],
    ['Captured', formatInstant(backup.capturedAt)],
    ['Mode', backup.mode ?? '-'],
    ['Quiesced', backup.isQuiesced ? 'yes' : 'no'],
    ['Logical', formatBytes(bytes.logicalBytes)],
    ['Changed', formatBytes(bytes.changedBytes)],
    ['Read', formatBytes(bytes.readBytes)],
    ['New', formatBytes(bytes.newBytes)],
    ['Stored', formatBytes(bytes.storedBytes)],
    ['Verified', formatInstant(backup.verifiedAt)],
    ...(backup.damagedAt === null ? [] : [['Found damaged', formatInstant(backup.damagedAt)] as const]),
    ...Object.entries(backup.tags).map(([name, value]) => [`Tag ${name}`, value] as const),
    ...(backup.protectedUntil === null
      ? []
      : [['Protected until', formatInstant(backup.protectedUntil)] as const]),
    ...(backup.protectionUnknown === null
      ? []
      : [['Protection', `unknown: ${backup.protectionUnknown.detail}`] as const]),
    ...(backup.copyOf === null ? [] : [['Copy of', backup.copyOf] as const]),
  ])
  const disks = formatTable(
    ['disk', 'label', 'mode', 'size', 'read', 'new', 'stored'],
    backup.disks.map(disk => [
      String(disk.key),
      disk.label,
      disk.mode,
      formatBytes(disk.sizeBytes),
      formatBytes(disk.bytes.readBytes),
      formatBytes(disk.bytes.newBytes),
      formatBytes(disk.bytes.storedBytes),
    ]),
  )
  return [fields, disks, reasonLines(backup)].filter(part => part !== '').join('\n\n')
}

function reasonLines(backup: Backup): string {
  const line = (about: string, { code, title, fix }: Reason) => `${about}: ${title} (${code}). ${fix}`
  return [
    ...backup.reasons.map(reason => line(backup.vmName, reason)),
    ...backup.disks.flatMap(disk => disk.reasons.map(reason => line(`Disk ${disk.key}`, reason))),
    ...backup.skippedDisks.map(disk => line(`Disk ${disk.key} is not in this backup`, disk.reason)),
  ].join('\n')
}
