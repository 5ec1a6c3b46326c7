import type { HubMethods, NodeId, TunnelHandlers } from '@sendense/contracts'
import type { DataPlane } from '@sendense/engine'
import type { Clock, Logger } from '@sendense/platform'
import type { Engine } from '../../platform/engine/engine.ts'
import type { InventoryService } from '../inventory/index.ts'
import type { JobsService } from '../jobs/index.ts'
import type { VcentersService } from '../vcenters/index.ts'
import { backupJob, restoreDiskJob, verifyJob } from './backups.jobs.ts'
import type { BackupsPorts } from './backups.ports.ts'
import { BackupsService } from './backups.service.ts'
import type { BackupsStore } from './backups.store.ts'
import { CaptureHandlers } from './capture-handlers.ts'
import { CaptureRegistry } from './capture-registry.ts'
import { NodeLossWatch, type TunnelNews } from './node-loss-watch.ts'
import { type CheckNews, noteChecked } from './note-checked.ts'
import { copyJob, forgetJob } from './restore-points.jobs.ts'
import { RestorePointsService } from './restore-points.service.ts'

export { mountBackups } from './backups.routes.ts'
export type { BackupsService } from './backups.service.ts'
export { BackupsTypeormStore } from './backups.store.typeorm.ts'

export interface BackupsOptions {
  store: BackupsStore
  jobs: JobsService
  inventory: InventoryService
  vcenters: VcentersService
  tunnels: BackupsPorts['tunnels'] & TunnelNews
  nodes: BackupsPorts['nodes']
  repositories: BackupsPorts['repositories'] & CheckNews
  dataPlane: DataPlane
  engine: Pick<Engine, 'removeRestoreLeftovers'>
  clock: Clock
  log: Logger
  /** The only directory that disks are restored to. */
  restoreDirectory: string
  /** How long a Node may be away during a capture before its job fails. */
  nodeGraceMs?: number
  onHello(nodeId: NodeId, version: string): Promise<void>
}

export interface Backups {
  service: BackupsService
  restorePoints: RestorePointsService
  /** What the Nodes may call. */
  handlersFor(nodeId: NodeId): TunnelHandlers<HubMethods>
  close(): void
}

/** The capability: its jobs are defined, and it listens to what the tunnels tell. */
export function createBackups(options: BackupsOptions): Backups {
  const { store, jobs, inventory, vcenters, tunnels, nodes, repositories, clock, log } = options
  const ports: BackupsPorts = { tunnels, nodes, repositories, jobs }
  const captures = new CaptureRegistry()
  jobs.define(backupJob({ store, captures, inventory, vcenters, ports, clock, log }))
  jobs.define(verifyJob({ store, repositories, clock }))
  jobs.define(restoreDiskJob({ store, repositories, clock, engine: options.engine }))
  jobs.define(copyJob({ store, repositories, clock }))
  jobs.define(forgetJob({ store, repositories, clock }))
  repositories.onChecked(found => noteChecked(found, { store, clock }))
  const handlers = new CaptureHandlers({
    store,
    captures,
    dataPlane: options.dataPlane,
    ports,
    clock,
    log,
    onHello: options.onHello,
  })
  const watch = new NodeLossWatch({ captures, clock, graceMs: options.nodeGraceMs ?? 60_000 })
  watch.listenTo(tunnels)
  const service = new BackupsService({ ...options, ports, restoreDirectory: options.restoreDirectory })
  return {
    service,
    restorePoints: new RestorePointsService({ store, jobs, backups: service, repositories, clock, log }),
    handlersFor: nodeId => handlers.for(nodeId),
    close: () => watch.close(),
  }
}
