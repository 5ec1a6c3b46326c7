import { hubApi } from '@sendense/contracts'
import type { DataPlane } from '@sendense/engine'
import type { Clock, Logger } from '@sendense/platform'
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
  createRepositories,
  mountRepositories,
  type Repositories,
  RepositoriesTypeormStore,
} from './capabilities/repositories/index.ts'
import { NodeTunnels } from './capabilities/tunnel/index.ts'
import { mountVcenters, VcentersService, VcentersTypeormStore } from './capabilities/vcenters/index.ts'
import type { HubConfig } from './platform/config.ts'
import type { Db } from './platform/database/index.ts'
import type { Engine } from './platform/engine/engine.ts'
import { bearerAuthentication } from './platform/http/bearer.ts'
import { type AttemptLimits, limitAttempts } from './platform/http/limit-attempts.ts'
import type { SecretBox } from './platform/secrets/secret-box.ts'
import type { HubCertificate } from './platform/tls/hub-certificate.ts'

/** What all capabilities stand on. */
export interface Ground {
  readonly config: HubConfig
  readonly clock: Clock
  readonly log: Logger
  readonly terminal: { readonly isTTY?: boolean; write(text: string): unknown }
  readonly engine: Engine
  readonly db: Db
  readonly secrets: SecretBox
  readonly certificate: HubCertificate
  readonly dataPlane: DataPlane
}

export interface Capabilities {
  readonly health: HealthService
  readonly auth: AuthService
  readonly jobs: JobsService
  readonly tunnels: NodeTunnels
  readonly enrollment: EnrollmentService
  readonly vcenters: VcentersService
  readonly inventory: InventoryService
  readonly repositories: Repositories
  readonly backups: Backups
}

/** Creates all capabilities, those that others stand on first. They end in the opposite order. */
export function createCapabilities(ground: Ground, opening: AsyncDisposableStack): Capabilities {
  const { config, clock, log, db } = ground
  const auth = createAuth(ground)
  const tunnels = new NodeTunnels({ authenticate: token => auth.authenticate(token), log })
  opening.defer(() => tunnels.close())
  const jobs = new JobsService({ store: new JobsTypeormStore(db), clock, log })
  const repositories = createRepositories({
    store: new RepositoriesTypeormStore(db),
    engine: ground.engine,
    secrets: ground.secrets,
    jobs,
    dataDir: config.dataDir,
    clock,
    log,
  })
  opening.defer(() => repositories.close())
  const enrollment = createNodes(ground, auth, tunnels)
  const vcenters = new VcentersService({
    store: new VcentersTypeormStore(db),
    nodes: enrollment,
    tunnels,
    clock,
    log,
  })
  const inventory = new InventoryService({ store: new InventoryTypeormStore(db), vcenters, tunnels, clock })
  const backups = createBackups({
    store: new BackupsTypeormStore(db),
    jobs,
    inventory,
    vcenters,
    tunnels,
    nodes: enrollment,
    repositories: repositories.forBackups,
    dataPlane: ground.dataPlane,
    engine: ground.engine,
    clock,
    log,
    restoreDirectory: config.restoreDir,
    onHello: (nodeId, version) => enrollment.noteSeen(nodeId, version),
  })
  tunnels.serve(nodeId => backups.handlersFor(nodeId))
  // Jobs end before what they work with.
  opening.defer(() => backups.close())
  opening.defer(() => jobs.close())
  const health = new HealthService({
    startedAt: clock.now(),
    checks: [async () => describeClosed(await repositories.service.closedCount())],
  })
  return { health, auth, jobs, tunnels, enrollment, vcenters, inventory, repositories, backups }
}

/** Binds the routes of all capabilities. */
export function mountCapabilities(capabilities: Capabilities, limits: AttemptLimits): Router {
  const { health, auth, jobs, enrollment, vcenters, inventory, repositories, backups } = capabilities
  const router = express.Router()
  const authenticate = bearerAuthentication(token => auth.authenticate(token))
  limitAttempts(router, hubApi, limits)
  mountHealth(router, health)
  mountAuth(router, auth, authenticate)
  mountEnrollment(router, enrollment, authenticate)
  mountVcenters(router, vcenters, authenticate)
  mountInventory(router, inventory, authenticate)
  mountRepositories(router, repositories, authenticate)
  mountBackups(router, backups, authenticate)
  mountJobs(router, jobs, authenticate)
  return router
}

function createAuth({ config, clock, log, terminal, db }: Ground): AuthService {
  return new AuthService({
    store: new AuthTypeormStore(db),
    firstPassword: firstPassword({ dataDir: config.dataDir, terminal, log }),
    clock,
    log,
  })
}

function createNodes(
  { clock, log, db, certificate, engine }: Ground,
  auth: AuthService,
  tunnels: NodeTunnels,
): EnrollmentService {
  return createEnrollment({
    store: new EnrollmentTypeormStore(db),
    certificateSha256: certificate.sha256,
    tokens: {
      issue: input => auth.issueToken(input),
      revokeAll: subjectId => auth.revokeTokens(subjectId),
    },
    tunnels,
    createRateLimit: engine.createRateLimit,
    clock,
    log,
  })
}

function describeClosed(count: number): string[] {
  return count === 0 ? [] : [`${count} ${count === 1 ? 'repository is' : 'repositories are'} not open`]
}
