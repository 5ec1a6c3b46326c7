import { Command } from 'commander'
import type { CommandContext } from './command-context.ts'
import { addAuthCommands } from './commands/auth.ts'
import { addBackupCommands } from './commands/backups.ts'
import { addJobCommands } from './commands/jobs.ts'
import { addNodeCommands } from './commands/nodes.ts'
import { addRepositoryCommands } from './commands/repositories.ts'
import { addRestorePointCommands } from './commands/restore-points.ts'
import { addRestoreCommands } from './commands/restores.ts'
import { addVcenterCommands } from './commands/vcenters.ts'
import { addVmCommands } from './commands/vms.ts'

/** The whole command line, unparsed. */
export function buildProgram(context: CommandContext, version: string): Command {
  const program = new Command('sendense')
    .description('Back up, restore and recover VMware VMs')
    .version(version)
    .option('--json', 'print the JSON of the API instead of text')
    .showHelpAfterError('(add --help for the options)')
    .exitOverride()
    .configureOutput({
      writeOut: text => context.terminal.print(text.trimEnd()),
      writeErr: text => context.terminal.remark(text.trimEnd()),
    })
  addAuthCommands(program, context)
  addNodeCommands(program, context)
  addVcenterCommands(program, context)
  addVmCommands(program, context)
  addRepositoryCommands(program, context)
  addRestorePointCommands(addBackupCommands(program, context), context)
  addRestoreCommands(program, context)
  addJobCommands(program, context)
  return program
}
