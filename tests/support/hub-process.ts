import { readFile } from 'node:fs/promises'
import { type Client, createClient } from '@sendense/client'
import { API_ROOT } from '@sendense/contracts'
import { pinnedAgent } from '@sendense/platform'
import { z } from 'zod'
import { waitFor } from './child.ts'
import type { PrivateDir } from './private-dir.ts'
import { type Program, startProgram } from './program.ts'

/** The password that tests give to the first administrator. */
export const ADMIN_PASSWORD = 'a-long-test-password'

export const HubFile = z.object({
  url: z.string(),
  dataPlanePort: z.int(),
  certificateSha256: z.string(),
  pid: z.int(),
})
export type HubFile = z.output<typeof HubFile>

/** The Hub as a process of its own, on free ports, with the embedded database. */
export class HubProcess implements AsyncDisposable {
  readonly dir: PrivateDir
  #program: Program
  #file: HubFile
  readonly #settings: Readonly<Record<string, string>>

  private constructor(
    dir: PrivateDir,
    settings: Readonly<Record<string, string>>,
    started: { program: Program; file: HubFile },
  ) {
    this.dir = dir
    this.#settings = settings
    this.#program = started.program
    this.#file = started.file
  }

  /** Starts a Hub whose data lives in `dir`. */
  static async start(dir: PrivateDir, settings: Readonly<Record<string, string>> = {}): Promise<HubProcess> {
    return new HubProcess(dir, settings, await launch(dir, { port: 0, dataPlanePort: 0 }, settings))
  }

  get file(): HubFile {
    return this.#file
  }

  get url(): string {
    return this.#file.url
  }

  get program(): Program {
    return this.#program
  }

  get dataDir(): string {
    return this.dir.join('data')
  }

  get restoreDir(): string {
    return this.dir.join('restores')
  }

  /** Kills it and starts it again where the Nodes know it to be. */
  async killAndRestart(): Promise<void> {
    await this.#program.kill()
    await this.restart()
  }

  /** Starts it again after it has ended. */
  async restart(): Promise<void> {
    await this.#program.end
    const ports = { port: Number(new URL(this.#file.url).port), dataPlanePort: this.#file.dataPlanePort }
    const started = await launch(this.dir, ports, this.#settings)
    this.#program = started.program
    this.#file = started.file
  }

  /** A client without a login. */
  client(token?: string): Client {
    return createClient({
      baseUrl: new URL(API_ROOT, this.url).href,
      httpsAgent: pinnedAgent({ certificateSha256: this.#file.certificateSha256 }),
      ...(token !== undefined && { token }),
    })
  }

  /** The one-time password of the first administrator. */
  async oneTimePassword(): Promise<string> {
    return (await readFile(this.dir.join('data', 'initial-admin-password'), 'utf8')).trim()
  }

  /** A client of the administrator; changes the one-time password at the first call. */
  async administrator(): Promise<Client> {
    const oneTime = await this.oneTimePassword().catch(() => undefined)
    return administratorOf(token => this.client(token), oneTime)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]()
  }
}

/** Logs the administrator in; the first time with the one-time password, which is changed. */
export async function administratorOf(
  client: (token?: string) => Client,
  oneTimePassword: string | undefined,
): Promise<Client> {
  if (oneTimePassword !== undefined) {
    const first = await client().auth.login({ body: { username: 'admin', password: oneTimePassword } })
    const body = { currentPassword: oneTimePassword, newPassword: ADMIN_PASSWORD }
    await client(first.token).auth.changePassword({ body })
  }
  const { token } = await client().auth.login({ body: { username: 'admin', password: ADMIN_PASSWORD } })
  return client(token)
}

async function launch(
  dir: PrivateDir,
  ports: { port: number; dataPlanePort: number },
  settings: Readonly<Record<string, string>>,
): Promise<{ program: Program; file: HubFile }> {
  const program = startProgram('apps/hub/src/main.ts', [], {
    SENDENSE_HUB_DATA_DIR: dir.join('data'),
    SENDENSE_HUB_RESTORE_DIR: dir.join('restores'),
    SENDENSE_HUB_HOST: '127.0.0.1',
    SENDENSE_HUB_PUBLIC_HOST: 'localhost',
    SENDENSE_HUB_PORT: String(ports.port),
    SENDENSE_HUB_DATA_PLANE_PORT: String(ports.dataPlanePort),
    ...settings,
  })
  const file = await waitFor('the Hub to listen', async () => {
    if (program.hasEnded) throw new Error(`The Hub ended before it listened:\n${program.log()}`)
    const text = await readFile(dir.join('data', 'hub.json'), 'utf8').catch(() => undefined)
    const parsed = text === undefined ? undefined : HubFile.parse(JSON.parse(text))
    // The file of a Hub that was killed is still there.
    return parsed?.pid === program.pid ? parsed : undefined
  })
  return { program, file }
}
