import { join } from 'node:path'
import type { Clock, Logger } from '@sendense/platform'
import type { Engine } from '../../platform/engine/engine.ts'
import type { SecretBox } from '../../platform/secrets/secret-box.ts'
import type { JobsService } from '../jobs/index.ts'
import { RepositoryMounts } from './mounts/repository-mounts.ts'
import { OpenRepositories } from './open-repositories.ts'
import { pruneJob, type RepositoryCheck, repairJob, verifyRepositoryJob } from './repositories.jobs.ts'
import { RepositoriesService } from './repositories.service.ts'
import type { RepositoriesStore } from './repositories.store.ts'
import { RepositoryKeysService } from './repository-keys.service.ts'
import { RepositoryMaintenanceService } from './repository-maintenance.service.ts'
import { RepositoryStorageService } from './repository-storage.service.ts'

export interface RepositoriesOptions {
  store: RepositoriesStore
  engine: Pick<Engine, 'initRepository' | 'openRepository' | 'probePlace'>
  secrets: SecretBox
  jobs: Pick<JobsService, 'define' | 'start' | 'listUnfinished'>
  dataDir: string
  clock: Clock
  log: Logger
}

type CheckListener = (found: RepositoryCheck) => Promise<void>

/** The capability: who keeps, measures, maintains repositories and their keys. */
export interface Repositories {
  readonly service: RepositoriesService
  readonly storage: RepositoryStorageService
  readonly maintenance: RepositoryMaintenanceService
  readonly keys: RepositoryKeysService
  /** What capabilities above need, and no more. */
  readonly forBackups: Pick<RepositoriesService, 'open' | 'openToWrite' | 'ifOpen' | 'protectedUntil'> &
    Pick<RepositoryStorageService, 'measureSoon'> & {
      /** Tells what checks of repositories find, before their jobs end. */
      onChecked(listener: CheckListener): void
    }
  /** Closes all repositories, and unmounts their shares. */
  close(): Promise<void>
}

/** Puts the capability together, and defines its jobs. */
export function createRepositories(options: RepositoriesOptions): Repositories {
  const { store, engine, secrets, jobs, dataDir, clock, log } = options
  const mounts = new RepositoryMounts({ folder: join(dataDir, 'mounts'), log })
  const opened = new OpenRepositories({ store, engine, secrets, mounts, log })
  const service = new RepositoriesService({
    ...{ store, engine, secrets, opened, mounts, jobs, dataDir, clock, log },
  })
  const storage = new RepositoryStorageService({ store, opened, clock, log })
  const checkListeners: CheckListener[] = []
  const onChecked = async (found: RepositoryCheck) => {
    for (const listener of checkListeners) await listener(found)
  }
  const forJobs = { repositories: service, storage, clock, onChecked }
  jobs.define(verifyRepositoryJob(forJobs))
  jobs.define(pruneJob(forJobs))
  jobs.define(repairJob(forJobs))
  return {
    service,
    storage,
    maintenance: new RepositoryMaintenanceService({ repositories: service, jobs }),
    keys: new RepositoryKeysService({ store, opened, secrets, log }),
    forBackups: {
      open: id => service.open(id),
      openToWrite: id => service.openToWrite(id),
      ifOpen: id => service.ifOpen(id),
      protectedUntil: (id, restorePointId) => service.protectedUntil(id, restorePointId),
      measureSoon: id => storage.measureSoon(id),
      onChecked: listener => checkListeners.push(listener),
    },
    close: () => service.close(),
  }
}
