import type { BackupId, Failure, Page, PageQuery, RepositoryId, VmId } from '@sendense/contracts'
import { pageOfArray } from '../../testing/page-of-array.ts'
import {
  type Backup,
  type BackupCompletion,
  type BackupFilter,
  type BackupsStore,
  hasOwner,
} from './backups.store.ts'

/** The fake: passes the same suite as the real store. */
export class BackupsMemoryStore implements BackupsStore {
  readonly #backups = new Map<BackupId, Backup>()

  async add(backup: Backup): Promise<void> {
    if (!this.#backups.has(backup.id)) this.#backups.set(backup.id, structuredClone(backup))
  }

  async get(id: BackupId): Promise<Backup | undefined> {
    return structuredClone(this.#backups.get(id))
  }

  async list({ vmId, repositoryId, status, ...query }: PageQuery & BackupFilter): Promise<Page<Backup>> {
    const found = [...this.#backups.values()].filter(
      backup =>
        (vmId === undefined || backup.vmId === vmId) &&
        (repositoryId === undefined || backup.repositoryId === repositoryId) &&
        (status === undefined || backup.status === status),
    )
    return structuredClone(pageOfArray(found, query, backup => backup.id, 'descending'))
  }

  async chain(vmId: VmId, repositoryId: RepositoryId): Promise<Backup[]> {
    const found = [...this.#backups.values()].filter(
      backup => backup.vmId === vmId && backup.repositoryId === repositoryId && backup.status === 'succeeded',
    )
    const time = (backup: Backup) => backup.capturedAt?.getTime() ?? 0
    return structuredClone(found.sort((one, other) => time(one) - time(other)))
  }

  async listSucceeded(repositoryId: RepositoryId): Promise<Backup[]> {
    const found = this.#sorted().filter(
      backup => backup.repositoryId === repositoryId && backup.status === 'succeeded',
    )
    return structuredClone(found.reverse())
  }

  async listCopies(id: BackupId): Promise<Backup[]> {
    return structuredClone(this.#sorted().filter(backup => backup.copyOf === id))
  }

  async complete(id: BackupId, completion: BackupCompletion): Promise<boolean> {
    const { repositoryId } = this.#backups.get(id) ?? {}
    const others = this.#sorted().filter(
      one => one.status === 'succeeded' && one.repositoryId === repositoryId,
    )
    const owner = others.find(one => one.id !== id && one.restorePointId === completion.restorePointId)
    if (owner) throw hasOwner(owner.id)
    return this.#changeRunning(id, { ...completion, status: 'succeeded' })
  }

  async end(
    id: BackupId,
    status: 'failed' | 'cancelled',
    failure: Failure,
    finishedAt: Date,
  ): Promise<boolean> {
    return this.#changeRunning(id, { status, failure, finishedAt })
  }

  async markMissing(id: BackupId): Promise<void> {
    this.#change(id, { status: 'missing' })
  }

  async markForgotten(id: BackupId): Promise<void> {
    this.#change(id, { status: 'forgotten' })
  }

  async markVerified(
    id: BackupId,
    { startedAt, finishedAt }: { startedAt: Date; finishedAt: Date },
  ): Promise<void> {
    const damagedAt = this.#backups.get(id)?.damagedAt ?? null
    const isOutdated = damagedAt === null || damagedAt < startedAt
    if (isOutdated) this.#change(id, { verifiedAt: finishedAt, damagedAt: null })
  }

  async markDamaged(id: BackupId, at: Date): Promise<void> {
    const damagedAt = this.#backups.get(id)?.damagedAt ?? at
    this.#change(id, { damagedAt: damagedAt < at ? at : damagedAt })
  }

  #sorted(): Backup[] {
    return [...this.#backups.values()].sort((one, other) => (one.id < other.id ? -1 : 1))
  }

  #changeRunning(id: BackupId, change: Partial<Backup>): boolean {
    return this.#backups.get(id)?.status === 'running' && this.#change(id, change)
  }

  #change(id: BackupId, change: Partial<Backup>): boolean {
    const backup = this.#backups.get(id)
    if (!backup) return false
    this.#backups.set(id, structuredClone({ ...backup, ...change }))
    return true
  }
}
