import { runProgram } from '../../tests/support/program.ts'

/** The command line as a person uses it, with the session of one Hub. */
export class CommandLine {
  readonly #sessionFile: string

  constructor(sessionFile: string) {
    this.#sessionFile = sessionFile
  }

  /** Runs one command with `--json` and returns what it printed. */
  async run<T>(args: readonly string[], stdin?: string): Promise<T> {
    const { code, stdout, stderr } = await runProgram('apps/cli/src/main.ts', ['--json', ...args], {
      env: { SENDENSE_SESSION_FILE: this.#sessionFile },
      ...(stdin !== undefined && { stdin }),
    })
    if (code !== 0) throw new Error(`sendense ${args.join(' ')} ended with ${code}: ${stderr}`)
    // Commands that only do something print nothing.
    return (stdout.trim() === '' ? undefined : JSON.parse(stdout)) as T
  }
}
