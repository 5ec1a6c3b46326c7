import type { Command } from 'commander'
import { type CommandContext, show } from '../command-context.ts'
import { followJob, showStarted } from '../follow-job.ts'
import { formatBytes } from '../format.ts'
import { toBackupId, toDiskKey } from './backups.ts'

interface RestoreOptions {
  disk: number
  to?: string
  overwrite?: boolean
  wait: boolean
}

/** `restore disk`. */
export function addRestoreCommands(program: Command, context: CommandContext): void {
  const restore = program.command('restore').description('bring data back')
  restore
    .command('disk <backup>')
    .description('restore a whole disk to a raw file below the restore directory of the Hub')
    .requiredOption('--disk <key>', 'device key of the disk', toDiskKey)
    .option('--to <path>', 'path below the restore directory')
    .option('--overwrite', 'replace a file that is there')
    .option('--no-wait', 'return as soon as the job has started')
    .action((id: string, options: RestoreOptions, command: Command) =>
      restoreDisk(context, command, id, options),
    )
}

async function restoreDisk(context: CommandContext, command: Command, id: string, options: RestoreOptions) {
  const started = await (await context.client()).backups.restoreDisk({
    params: { backupId: toBackupId(id) },
    body: {
      diskKey: options.disk,
      overwrite: options.overwrite === true,
      ...(options.to !== undefined && { path: options.to }),
    },
  })
  if (!options.wait) return showStarted(context, command, started)
  const { result, bytes } = await followJob(context, command, started.jobId)
  show(
    context,
    command,
    result,
    () => `Restored ${formatBytes(bytes.logicalBytes)} to ${String(result?.path)}`,
  )
}
