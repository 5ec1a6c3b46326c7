import {
  type BackupId,
  BackupId as BackupIdSchema,
  type Backup as BackupView,
  NO_BYTES,
  type Page,
  type PageQuery,
  type RepositoryId,
  type RestoreDiskRequest,
  type StartBackupRequest,
  type StartedJob,
  sumOfBytes,
  type VmId,
} from '@sendense/contracts'
import { AppError, type Clock, type Logger, newId } from '@sendense/platform'
import type { InventoryService, Vm } from '../inventory/index.ts'
import type { JobsService } from '../jobs/index.ts'
import type { VcentersService } from '../vcenters/index.ts'
import { viewOf } from './backup-view.ts'
import type { RestoreDiskInput, VerifyInput } from './backups.jobs.ts'
import type { BackupsPorts } from './backups.ports.ts'
import type { Backup, BackupFilter, BackupsStore } from './backups.store.ts'
import { chunkBytesFor } from './chunk-size.ts'
import { restoreTarget } from './restore-target.ts'
import { type BackupInput, newBackup } from './run-backup.ts'
import { settleBackup } from './settle-backup.ts'

interface Options {
  store: BackupsStore
  jobs: Pick<JobsService, 'start' | 'endOf'>
  inventory: Pick<InventoryService, 'find'>
  vcenters: Pick<VcentersService, 'find'>
  ports: Pick<BackupsPorts, 'tunnels' | 'repositories'>
  clock: Clock
  log: Logger
  restoreDirectory: string
}

/** Backups as people ask for them. The long work is done by the jobs of `backups.jobs.ts`. */
export class BackupsService {
  readonly #options: Options

  constructor(options: Options) {
    this.#options = options
  }

  async start(request: StartBackupRequest): Promise<StartedJob> {
    const { inventory, vcenters, ports, jobs, store, clock } = this.#options
    const vm = await inventory.find(request.vmId)
    if (vm.disks.length > 0 && vm.disks.every(disk => disk.excluded !== null)) throw nothingToProtect(vm)
    const { nodeId } = await vcenters.find(vm.vcenterId)
    const repository = await ports.repositories.open(request.repositoryId)
    const chunkBytes = chunkBytesFor(repository.chunkBytes, vm.disks)
    // Fails here and now, while somebody listens, rather than in a job a second later.
    ports.tunnels.call(nodeId)
    const backupId = BackupIdSchema.parse(newId())
    const input: BackupInput = { ...request, backupId, nodeId, chunkBytes }
    const lockKey = `backup:${vm.id}`
    const jobId = await jobs.start({ kind: 'backup', subject: vm.name, subjectId: backupId, lockKey, input })
    // The job adds it too when it runs; whoever asks before that shall find it.
    await store.add(newBackup(input, { jobId, vmName: vm.name, startedAt: clock.now() }))
    return { jobId, backupId }
  }

  async list(query: PageQuery & BackupFilter): Promise<Page<BackupView>> {
    const page = await this.#options.store.list(query)
    return {
      ...page,
      items: await Promise.all(page.items.map(async one => viewOf(await this.#settled(one)))),
    }
  }

  async chain(vmId: VmId, repositoryId: RepositoryId) {
    await this.#options.inventory.find(vmId)
    const backups = await this.#options.store.chain(vmId, repositoryId)
    const totals = backups.length === 0 ? NO_BYTES : sumOfBytes(backups.map(backup => backup.bytes))
    return { vmId, repositoryId, backups: backups.map(viewOf), totals }
  }

  async changeId(vmId: VmId, repositoryId: RepositoryId, diskKey: number) {
    const newest = (await this.#options.store.chain(vmId, repositoryId)).at(-1)
    const changeId = newest?.disks.find(disk => disk.key === diskKey)?.changeId
    if (!newest || !changeId) {
      throw new AppError('not-found', {
        detail: `No restore point there records a change id for disk ${diskKey}.`,
      })
    }
    return { vmId, repositoryId, diskKey, changeId, backupId: newest.id }
  }

  async verify(id: BackupId): Promise<StartedJob> {
    const { backup, restorePointId } = await this.findRestorePoint(id)
    const jobId = await this.#options.jobs.start({
      kind: 'verify',
      subject: backup.vmName,
      subjectId: id,
      lockKey: `verify:${id}`,
      input: { backupId: id, repositoryId: backup.repositoryId, restorePointId } satisfies VerifyInput,
    })
    return { jobId, backupId: id }
  }

  async restoreDisk(id: BackupId, { diskKey, path, overwrite }: RestoreDiskRequest): Promise<StartedJob> {
    const { backup, restorePointId } = await this.findRestorePoint(id)
    const disk = backup.disks.find(one => one.key === diskKey)
    if (!disk) throw new AppError('not-found', { detail: `The backup has no disk ${diskKey}.` })
    const targetPath = await restoreTarget(this.#options.restoreDirectory, {
      path: path ?? `${id}-disk-${diskKey}.raw`,
      overwrite,
    })
    const jobId = await this.#options.jobs.start({
      kind: 'restore-disk',
      subject: `${backup.vmName}, disk ${diskKey}`,
      subjectId: id,
      lockKey: `restore:${targetPath}`,
      input: {
        backupId: id,
        repositoryId: backup.repositoryId,
        restorePointId,
        diskKey,
        file: disk.file,
        targetPath,
        overwrite,
      } satisfies RestoreDiskInput,
    })
    return { jobId, backupId: id }
  }

  /** The restore point of a backup that has one. */
  async findRestorePoint(id: BackupId): Promise<{ backup: Backup; restorePointId: string }> {
    const backup = await this.find(id)
    const { status, restorePointId } = backup
    if (status === 'missing' || status === 'forgotten') throw new AppError('restore-point-missing')
    if (status !== 'succeeded' || restorePointId === null) {
      throw new AppError('conflict', { detail: `The backup is ${status}: it has no restore point.` })
    }
    return { backup, restorePointId }
  }

  /** Fails with `not-found`. */
  async find(id: BackupId): Promise<Backup> {
    const backup = await this.#options.store.get(id)
    if (!backup) throw new AppError('not-found', { detail: `There is no backup ${id}.` })
    return this.#settled(backup)
  }

  #settled(backup: Backup): Promise<Backup> {
    const { repositories } = this.#options.ports
    return settleBackup(backup, { ...this.#options, repositories })
  }
}

function nothingToProtect(vm: Vm): AppError {
  const disks = vm.disks.map(disk => `${disk.label}: ${disk.excluded?.title}`).join('; ')
  return new AppError('vm-nothing-to-protect', { detail: disks })
}
