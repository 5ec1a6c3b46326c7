import { CliError } from './cli-error.ts'
import type { Terminal } from './terminal.ts'

/** How a secret comes in. Never as an argument: those are seen by everybody on the machine. */
export interface SecretSource {
  /** Name of the environment variable that holds it. */
  readonly env?: string | undefined
  readonly stdin?: boolean | undefined
}

/** Reads a secret from the environment or from standard input, or asks for it on a terminal. */
export async function readSecret(
  terminal: Pick<Terminal, 'askSecret' | 'readAll'>,
  question: string,
  { env, stdin }: SecretSource,
): Promise<string> {
  if (env !== undefined) {
    const value = process.env[env]
    if (!value) throw new CliError('usage', `The environment has no ${env}.`)
    return value
  }
  return stdin ? terminal.readAll() : terminal.askSecret(`${question}: `)
}
