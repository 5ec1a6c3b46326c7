import { mkdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { type Clock, type Logger, systemClock } from '@sendense/platform'
import type { Router } from 'express'
import {
  type Capabilities,
  createCapabilities,
  type Ground,
  mountCapabilities,
} from './create-capabilities.ts'
import type { HubConfig } from './platform/config.ts'
import { lockDataDir } from './platform/data-dir-lock.ts'
import { openDatabase, Settings } from './platform/database/index.ts'
import { type Engine, nativeEngine } from './platform/engine/engine.ts'
import { buildApp } from './platform/http/build-app.ts'
import { type AttemptLimits, DEFAULT_LIMITS } from './platform/http/limit-attempts.ts'
import { listenHttps } from './platform/http/listen-https.ts'
import { removeHubFile, writeHubFile } from './platform/hub-file.ts'
import { openMasterKey } from './platform/secrets/open-master-key.ts'
import { hubCertificate } from './platform/tls/hub-certificate.ts'
import { SCHEMA } from './schema.ts'

/** What comes from outside; tests put fakes in place. */
export interface HubSurroundings {
  readonly log: Logger
  /** Where the first password is shown, if it is a terminal. */
  readonly terminal: Ground['terminal']
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
  /** For tests that need what no route gives. */
  readonly capabilities: Capabilities
  listen(): Promise<HubAddress>
  /** Ends everything in the opposite order of its beginning. */
  close(): Promise<void>
}

/** Puts the Hub together. Leaves nothing open when it fails. */
export async function buildHub(config: HubConfig, surroundings: HubSurroundings): Promise<Hub> {
  await using opening = new AsyncDisposableStack()
  const ground = await layGround(config, surroundings, opening)
  const capabilities = createCapabilities(ground, opening)
  await capabilities.auth.ensureFirstAdministrator()
  const api = mountCapabilities(capabilities, surroundings.limits ?? DEFAULT_LIMITS)
  const opened = opening.move()
  return {
    capabilities,
    listen: () => listen(ground, capabilities, api, opened),
    close: () => opened.disposeAsync(),
  }
}

async function layGround(
  config: HubConfig,
  { log, terminal, clock = systemClock, engine = nativeEngine }: HubSurroundings,
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
  const dataPlane = await engine.listenDataPlane({ host, port, certificatePem, privateKeyPem })
  opening.defer(() => dataPlane.close())
  return { config, clock, log, terminal, engine, db, secrets, certificate, dataPlane }
}

async function listen(
  { config, certificate, dataPlane, log }: Ground,
  capabilities: Capabilities,
  api: Router,
  opened: AsyncDisposableStack,
): Promise<HubAddress> {
  const https = await listenHttps(buildApp({ api, docsDir: DOCS_DIR, log }), certificate, config)
  opened.defer(() => https.close())
  capabilities.tunnels.listenOn(https.server)
  // Before the server waits for its connections to end: tunnels and streams would stay.
  opened.defer(() => capabilities.tunnels.close())
  opened.defer(() => capabilities.jobs.close())
  const address: HubAddress = {
    url: `https://${config.publicHost}:${https.port}`,
    port: https.port,
    dataPlanePort: dataPlane.port,
    certificateSha256: certificate.sha256,
  }
  const { url, dataPlanePort, certificateSha256 } = address
  await writeHubFile(config.dataDir, { url, dataPlanePort, certificateSha256, pid: process.pid })
  opened.defer(() => removeHubFile(config.dataDir))
  takeUpWork(config, capabilities, log)
  return address
}

/** In the background: storage that is slow or away must not keep the Hub from answering. */
function takeUpWork({ databaseUrl }: HubConfig, { jobs, repositories }: Capabilities, log: Logger): void {
  // The lock of the data directory keeps other Hubs from its SQLite file; a MariaDB may have several.
  const isAlone = databaseUrl.startsWith('sqlite:')
  const work = async () => {
    await repositories.service.openAll()
    await jobs.recover({ isAlone })
  }
  work().catch(error => log.error('What earlier processes left could not be taken up', { error }))
}

const DOCS_DIR = fileURLToPath(new URL('../../../docs/', import.meta.url))
