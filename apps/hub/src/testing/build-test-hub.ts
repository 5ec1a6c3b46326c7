import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Client, createClient } from '@sendense/client'
import { API_ROOT, type Role } from '@sendense/contracts'
import { type Clock, newId, pinnedAgent } from '@sendense/platform'
import { memoryLog } from '@sendense/platform/testing'
import { buildHub, type HubAddress, type HubSurroundings } from '../build-hub.ts'
import type { Capabilities } from '../create-capabilities.ts'
import type { HubConfig } from '../platform/config.ts'
import type { Engine } from '../platform/engine/engine.ts'
import { fakeEngine } from './fake-engine.ts'

export interface TestHub extends AsyncDisposable {
  readonly address: HubAddress
  /** Root of the API. */
  readonly baseUrl: string
  readonly config: HubConfig
  readonly log: ReturnType<typeof memoryLog>
  /** What the running Hub is made of. */
  readonly capabilities: Capabilities
  /** A client with this token, or with none. */
  client(token?: string): Client
  /** A client of an administrator who has changed the one-time password. */
  admin(): Promise<Client>
  /** The token of that administrator. */
  adminToken(): Promise<string>
  /** A new token of somebody new who has this role. */
  tokenOf(role: Role): Promise<string>
  /** Stops the Hub and starts another one on the same data directory. */
  restart(): Promise<void>
}

export interface TestHubOptions {
  engine?: Engine
  clock?: Clock
  limits?: HubSurroundings['limits']
}

export const ADMIN_PASSWORD = 'correct horse battery'

/** A whole Hub in this process: real HTTPS on a free port, real SQLite in a folder of its own, by default a fake engine. */
export async function buildTestHub(options: TestHubOptions = {}): Promise<TestHub> {
  const folder = await mkdtemp(join(tmpdir(), 'sendense-hub-'))
  const config = configIn(folder)
  const log = memoryLog()
  const surroundings = { log, terminal: { write: () => undefined }, engine: fakeEngine(), ...options }
  let hub = await buildHub(config, surroundings)
  let address = await hub.listen()
  // One for all addresses; what a stopped Hub has sent may still be on its way to a client.
  const agent = pinnedAgent(address)
  let token: Promise<string> | undefined
  const testHub: TestHub = {
    get address() {
      return address
    },
    get baseUrl() {
      return `https://127.0.0.1:${address.port}${API_ROOT}`
    },
    config,
    log,
    get capabilities() {
      return hub.capabilities
    },
    client: token => createClient({ baseUrl: testHub.baseUrl, token, httpsAgent: agent }),
    adminToken() {
      token ??= logInAsAdmin(testHub)
      return token
    },
    async tokenOf(role) {
      const { auth } = hub.capabilities
      if (role === 'node') {
        const subject = { subjectId: newId(), name: 'a Node', role, lifetimeMs: 3_600_000 } as const
        return (await auth.issueToken(subject)).token
      }
      const username = `user-${newId()}`
      await auth.createUser({ username, password: ADMIN_PASSWORD, role, mustChangePassword: false })
      return (await auth.login({ username, password: ADMIN_PASSWORD }, '127.0.0.1')).token
    },
    admin: async () => testHub.client(await testHub.adminToken()),
    async restart() {
      await hub.close()
      hub = await buildHub(config, surroundings)
      address = await hub.listen()
    },
    async [Symbol.asyncDispose]() {
      agent.destroy()
      await hub.close()
      await rm(folder, { recursive: true })
    },
  }
  return testHub
}

function configIn(folder: string): HubConfig {
  return {
    dataDir: join(folder, 'data'),
    host: '127.0.0.1',
    port: 0,
    dataPlaneHost: '127.0.0.1',
    dataPlanePort: 0,
    publicHost: 'localhost',
    restoreDir: join(folder, 'restores'),
    databaseUrl: `sqlite:${join(folder, 'data', 'hub.db')}`,
    logLevel: 'debug',
    certificateFile: undefined,
    privateKeyFile: undefined,
  }
}

async function logInAsAdmin(hub: TestHub): Promise<string> {
  const first = (await readFile(join(hub.config.dataDir, 'initial-admin-password'), 'utf8')).trim()
  const { token } = await hub.client().auth.login({ body: { username: 'admin', password: first } })
  await hub
    .client(token)
    .auth.changePassword({ body: { currentPassword: first, newPassword: ADMIN_PASSWORD } })
  return token
}
