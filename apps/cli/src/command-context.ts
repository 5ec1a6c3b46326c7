import type { Client } from '@sendense/client'
import type { Command } from 'commander'
import type { Terminal } from './terminal.ts'

/** What every command gets: the terminal and a client that is logged in. */
export interface CommandContext {
  readonly terminal: Terminal
  /** A client of the session's Hub; fails with a hint to log in when there is none. */
  client(): Promise<Client>
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal
}

/** Shows a result: the JSON of the contract with `--json`, words for people otherwise. */
export function show(context: CommandContext, command: Command, value: unknown, toText: () => string): void {
  context.terminal.print(isJson(command) ? JSON.stringify(value, null, 2) : toText())
}

/** Whether `--json` was given, before or after the command's name. */
export function isJson(command: Command): boolean {
  return command.optsWithGlobals<{ json?: boolean }>().json === true
}
