import { ADMIN_PASSWORD, type HubProcess } from './hub-process.ts'
import { runProgram } from './program.ts'

const MAIN = 'apps/cli/src/main.ts'

/** The command line, logged in as the administrator. */
export class CliSession {
  readonly #env: Readonly<Record<string, string>>

  private constructor(env: Readonly<Record<string, string>>) {
    this.#env = env
  }

  /** Logs in; the session file lies in the Hub's private directory. */
  static async logIn(hub: HubProcess): Promise<CliSession> {
    const session = new CliSession({ SENDENSE_SESSION_FILE: hub.dir.join('cli-session.json') })
    const hubFile = hub.dir.join('data', 'hub.json')
    await session.#run(['login', '--hub-file', hubFile, '--password-stdin'], ADMIN_PASSWORD)
    return session
  }

  /** Runs a command with `--json` and returns what it printed, parsed; fails when the command does. */
  async json(...args: string[]): Promise<unknown> {
    return JSON.parse(await this.#run(['--json', ...args]))
  }

  /** What a command prints for people. */
  async text(...args: string[]): Promise<string> {
    return this.#run(args)
  }

  async #run(args: readonly string[], stdin?: string): Promise<string> {
    const options = stdin === undefined ? { env: this.#env } : { env: this.#env, stdin }
    const { code, stdout, stderr } = await runProgram(MAIN, args, options)
    if (code !== 0) throw new Error(`sendense ${args.join(' ')} ended with ${code}: ${stderr}${stdout}`)
    return stdout
  }
}
