import { mkdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { hubApi } from '@sendense/contracts'
import type { DataPlane } from '@sendense/engine'
import { type Clock, type Logger, systemClock } from '@sendense/platform'
import express, { type Router } from 'express'
import { AuthService, AuthTypeormStore, firstPassword, mountAuth } from './capabilities/auth/index.ts'
import {
  type Backups,
  BackupsTypeormStore,
  createBackups,
  mountBackups,
} from './capabilities/backups/index.ts'
import {
  createEnrollment,
  type EnrollmentService,
  EnrollmentTypeormStore,
  mountEnrollment,
} from './capabilities/enrollment/index.ts'
import { HealthService, mountHealth } from './capabilities/health/index.ts'
import { InventoryService, InventoryTypeormStore, mountInventory } from './capabilities/inventory/index.ts'
import { JobsService, JobsTypeormStore, mountJobs } from './capabilities/jobs/index.ts'
import {
  mountRepositories,
  RepositoriesService,
  RepositoriesTypeormStore,
} from './capabilities/repositories/index.ts'
import { NodeTunnels } from './capabilities/tunnel/index.ts'
import { mountVcenters, VcentersService, VcentersTypeormStore } from './capabilities/vcenters/index.ts'
import type { HubConfig } from './platform/config.ts'
import { lockDataDir } from './platform/data-dir-lock.ts'
import { type Db, openDatabase, Settings } from './platform/database/index.ts'
import { type Engine, nativeEngine } from './platform/engine/engine.ts'
import { bearerAuthentication } from './platform/http/bearer.ts'
import { buildApp } from './platform/http/build-app.ts'
import { type AttemptLimits, DEFAULT_LIMITS, limitAttempts } from './platform/http/limit-attempts.ts'
import { listenHttps } from './platform/http/listen-https.ts'
import { removeHubFile, writeHubFile } from './platform/hub-file.ts'
import { openMasterKey } from './platform/secrets/open-master-key.ts'
import type { SecretBox } from './platform/secrets/secret-box.ts'
import { type HubCertificate, hubCertificate } from './platform/tls/hub-certificate.ts'
import { SCHEMA } from './schema.ts'

/** What comes from outside; tests put fakes in place. */
export interface HubSurroundings {
  readonly log: Logger
  /** Where the first password is shown, if it is a terminal. */
  readonly terminal: { readonly isTTY?: boolean; write(text: string): unknown }
  readonly clock?: Clock | undefined
  readonly engine?: Engine | undefined
  readonly limits?: AttemptLimits | undefined
}

export interface HubAddress {
  readonly url: string
  readonly port: number
  readonly dataPlanePort: number
  readonly certificateSha256: string
}

/** A Hub that is put together, and serves once it listens. */
export interface Hub {
  listen(): Promise<HubAddress>
  /** Ends everything in the opposite order of its beginning. */
  close(): Promise<void>
}

/** Puts the Hub together: the only place that knows all parts. Leaves nothing open when it fails. */
export async function buildHub(config: HubConfig, surroundings: HubSurroundings): Promise<Hub> {
  await using opening = new AsyncDisposableStack()
  const { clock = systemClock, engine = nativeEngine, limits = DEFAULT_LIMITS } = surroundings
  const parts: Parts = { ...surroundings, clock, engine, limits }
  const ground = await layGround(config, parts, opening)
  const services = createServices(config, parts, ground, opening)
  const capabilities = {
    ...services,
    ...createProtection(config, parts, { ...ground, ...services }, opening),
  }
  await capabilities.auth.ensureFirstAdministrator()
  const api = mountCapabilities(capabilities, parts.limits)
  const opened = opening.move()
  return {
    listen: () => listen(config, { api, ground, capabilities, log: parts.log }, opened),
    close: () => opened.disposeAsync(),
  }
}

interface Parts extends HubSurroundings {
  readonly clock: Clock
  readonly engine: Engine
  readonly limits: AttemptLimits
}

/** What all capabilities stand on. */
interface Ground {
  readonly db: Db
  readonly secrets: SecretBox
  readonly certificate: HubCertificate
  readonly dataPlane: DataPlane
}

async function layGround(
  config: HubConfig,
  { clock, engine }: Parts,
  opening: AsyncDisposableStack,
): Promise<Ground> {
  await mkdir(config.dataDir, { recursive: true, mode: 0o700 })
  await mkdir(config.restoreDir, { recursive: true, mode: 0o700 })
  opening.use(lockDataDir(config.dataDir))
  const { db } = await openDatabase(config.databaseUrl, SCHEMA)
  opening.defer(() => db.close())
  const secrets = await openMasterKey(config.dataDir, new Settings(db))
  const certificate = await hubCertificate(config, clock)
  const { certificatePem, privateKeyPem } = certificate
  const { dataPlaneHost: host, dataPlanePort: port } = config
  const dataPlane = opening.use(await engine.listenDataPlane({ host, port, certificatePem, privateKeyPem }))
  return { db, secrets, certificate, dataPlane }
}

/** What needs no Node. */
interface Services {
  readonly health: HealthService
  readonly auth: AuthService
  readonly jobs: JobsService
  readonly repositories: RepositoriesService
}

/** What Nodes and vCenters take part in. */
interface Protection {
  readonly tunnels: NodeTunnels
  readonly enrollment: EnrollmentService
  readonly vcenters: VcentersService
  readonly inventory: InventoryService
  readonly backups: Backups
}

type Capabilities = Services & Protection

function createServices(
  { dataDir }: HubConfig,
  { clock, log, engine, terminal }: Parts,
  { db, secrets }: Ground,
  opening: AsyncDisposableStack,
): Services {
  const auth = new AuthService({
    store: new AuthTypeormStore(db),
    firstPassword: firstPassword({ dataDir, terminal, log }),
    clock,
    log,
  })
  const repositories = new RepositoriesService({
    store: new RepositoriesTypeormStore(db),
    engine,
    secrets,
    dataDir,
    clock,
    log,
  })
  opening.defer(() => repositories.close())
  const jobs = new JobsService({ store: new JobsTypeormStore(db), clock, log })
  // Jobs end before what they work with.
  opening.defer(() => jobs.close())
  const health = new HealthService({
    startedAt: clock.now(),
    checks: [async () => describeClosed(await repositories.closedCount())],
  })
  return { health, auth, jobs, repositories }
}

function createProtection(
  { restoreDir }: HubConfig,
  { clock, log }: Parts,
  { db, certificate, dataPlane, auth, jobs, repositories }: Ground & Services,
  opening: AsyncDisposableStack,
): Protection {
  const tunnels = new NodeTunnels({ authenticate: token => auth.authenticate(token), log })
  opening.defer(() => tunnels.close())
  const enrollment = createEnrollment({
    store: new EnrollmentTypeormStore(db),
    ...{ clock, log, tunnels, certificateSha256: certificate.sha256 },
    tokens: {
      issue: input => auth.issueToken(input),
      revokeAll: subjectId => auth.revokeTokens(subjectId),
    },
  })
  const vcenters = new VcentersService({
    store: new VcentersTypeormStore(db),
    ...{ clock, log, tunnels, nodes: enrollment },
  })
  const inventory = new InventoryService({
    store: new InventoryTypeormStore(db),
    ...{ clock, vcenters, tunnels },
  })
  const backups = createBackups({
    store: new BackupsTypeormStore(db),
    ...{ jobs, inventory, vcenters, tunnels, repositories, dataPlane, clock, log },
    restoreDirectory: restoreDir,
    onHello: (nodeId, version) => enrollment.noteSeen(nodeId, version),
  })
  opening.defer(() => backups.close())
  tunnels.serve(nodeId => backups.handlersFor(nodeId))
  return { tunnels, enrollment, vcenters, inventory, backups }
}

function mountCapabilities(capabilities: Capabilities, limits: AttemptLimits): Router {
  const { health, auth, jobs, repositories, enrollment, vcenters, inventory, backups } = capabilities
  const router = express.Router()
  const authenticate = bearerAuthentication(token => auth.authenticate(token))
  limitAttempts(router, hubApi, limits)
  mountHealth(router, health)
  mountAuth(router, auth, authenticate)
  mountJobs(router, jobs, authenticate)
  mountRepositories(router, repositories, authenticate)
  mountEnrollment(router, enrollment, authenticate)
  mountVcenters(router, vcenters, authenticate)
  mountInventory(router, inventory, authenticate)
  mountBackups(router, backups.service, authenticate)
  return router
}

async function listen(
  config: HubConfig,
  {
    api,
    ground,
    capabilities,
    log,
  }: { api: Router; ground: Ground; capabilities: Capabilities; log: Logger },
  opened: AsyncDisposableStack,
): Promise<HubAddress> {
  const { certificate, dataPlane } = ground
  const app = buildApp({ api, docsDir: DOCS_DIR, log })
  const https = await listenHttps(app, certificate, config)
  opened.defer(() => https.close())
  capabilities.tunnels.listenOn(https.server)
  // While they end, jobs talk to the Nodes; the server in turn cannot close while tunnels are up.
  opened.defer(async () => {
    await capabilities.jobs.close()
    capabilities.tunnels.close()
  })
  const address: HubAddress = {
    url: `https://${config.publicHost}:${https.port}`,
    port: https.port,
    dataPlanePort: dataPlane.port,
    certificateSha256: certificate.sha256,
  }
  await writeHubFile(config.dataDir, { ...address, pid: process.pid })
  opened.defer(() => removeHubFile(config.dataDir))
  takeUpWork(config, capabilities, log)
  return address
}

/** In the background: storage that is slow or away must not keep the Hub from answering. */
function takeUpWork({ databaseUrl }: HubConfig, { jobs, repositories }: Capabilities, log: Logger): void {
  // The lock of the data directory is the lock of an SQLite file in it; a MariaDB may have other Hubs.
  const isAlone = databaseUrl.startsWith('sqlite:')
  const work = async () => {
    await repositories.openAll()
    await jobs.recover({ isAlone })
  }
  work().catch(error => log.error('What earlier processes left could not be taken up', { error }))
}

const DOCS_DIR = fileURLToPath(new URL('../../../docs/', import.meta.url))

function describeClosed(count: number): string[] {
  return count === 0 ? [] : [`${count} ${count === 1 ? 'repository is' : 'repositories are'} not open`]
}
