import type { BackupDisk, BackupId, Failure, Page, PageQuery, RepositoryId, VmId } from '@sendense/contracts'
import { type EntityManager, In, IsNull, LessThan, Not } from 'typeorm'
import { type Db, findPage } from '../../platform/database/index.ts'
import { BackupDiskEntity, type BackupDiskRow, BackupEntity, type BackupRow } from './backups.entities.ts'
import {
  type Backup,
  type BackupCompletion,
  type BackupFilter,
  type BackupsStore,
  hasOwner,
} from './backups.store.ts'

export class BackupsTypeormStore implements BackupsStore {
  readonly #db: Db

  constructor(db: Db) {
    this.#db = db
  }

  async add({ disks, ...row }: Backup): Promise<void> {
    await this.#db.write(async manager => {
      if (await manager.existsBy(BackupEntity, { id: row.id })) return
      await manager.insert(BackupEntity, row)
      await insertDisks(manager, row.id, disks)
    })
  }

  async get(id: BackupId): Promise<Backup | undefined> {
    const [backup] = await this.#db.read(async manager =>
      withDisks(manager, await manager.findBy(BackupEntity, { id })),
    )
    return backup
  }

  list({ vmId, repositoryId, status, ...query }: PageQuery & BackupFilter): Promise<Page<Backup>> {
    const where = {
      ...(vmId !== undefined && { vmId }),
      ...(repositoryId !== undefined && { repositoryId }),
      ...(status !== undefined && { status }),
    }
    // Ids begin with the time of their making, so their order is the order of the backups.
    const order = { by: 'id', direction: 'descending' } as const
    return this.#db.read(async manager => {
      const page = await findPage(manager.getRepository(BackupEntity), where, order, query)
      return { ...page, items: await withDisks(manager, page.items) }
    })
  }

  chain(vmId: VmId, repositoryId: RepositoryId): Promise<Backup[]> {
    return this.#db.read(async manager => {
      const where = { vmId, repositoryId, status: 'succeeded' as const }
      return withDisks(manager, await manager.find(BackupEntity, { where, order: { capturedAt: 'ASC' } }))
    })
  }

  listSucceeded(repositoryId: RepositoryId): Promise<Backup[]> {
    return this.#db.read(async manager => {
      const where = { repositoryId, status: 'succeeded' as const }
      return withDisks(manager, await manager.find(BackupEntity, { where, order: { id: 'DESC' } }))
    })
  }

  listCopies(id: BackupId): Promise<Backup[]> {
    return this.#db.read(async manager => {
      const where = { copyOf: id }
      return withDisks(manager, await manager.find(BackupEntity, { where, order: { id: 'ASC' } }))
    })
  }

  complete(id: BackupId, { disks, ...completion }: BackupCompletion): Promise<boolean> {
    return this.#db.write(async manager => {
      const owner = await ownerOf(manager, id, completion.restorePointId)
      if (owner) throw hasOwner(owner.id)
      const change = { ...completion, status: 'succeeded' as const }
      const { affected } = await manager.update(BackupEntity, { id, status: 'running' }, change)
      if (affected !== 1) return false
      await insertDisks(manager, id, disks)
      return true
    })
  }

  async end(
    id: BackupId,
    status: 'failed' | 'cancelled',
    failure: Failure,
    finishedAt: Date,
  ): Promise<boolean> {
    const change = { status, failure, finishedAt }
    const { affected } = await this.#db.write(manager =>
      manager.update(BackupEntity, { id, status: 'running' }, change),
    )
    return affected === 1
  }

  async markMissing(id: BackupId): Promise<void> {
    await this.#db.write(manager => manager.update(BackupEntity, { id }, { status: 'missing' }))
  }

  async markForgotten(id: BackupId): Promise<void> {
    await this.#db.write(manager => manager.update(BackupEntity, { id }, { status: 'forgotten' }))
  }

  async markVerified(
    id: BackupId,
    { startedAt, finishedAt }: { startedAt: Date; finishedAt: Date },
  ): Promise<void> {
    await this.#db.write(async manager => {
      await manager.update(BackupEntity, { id, damagedAt: LessThan(startedAt) }, { damagedAt: null })
      await manager.update(BackupEntity, { id, damagedAt: IsNull() }, { verifiedAt: finishedAt })
    })
  }

  async markDamaged(id: BackupId, at: Date): Promise<void> {
    await this.#db.write(async manager => {
      for (const damagedAt of [IsNull(), LessThan(at)])
        await manager.update(BackupEntity, { id, damagedAt }, { damagedAt: at })
    })
  }
}

async function withDisks(manager: EntityManager, rows: readonly BackupRow[]): Promise<Backup[]> {
  const where = { backupId: In(rows.map(row => row.id)) }
  const disks =
    rows.length === 0 ? [] : await manager.find(BackupDiskEntity, { where, order: { diskKey: 'ASC' } })
  const byBackup = Map.groupBy(disks, disk => disk.backupId)
  return rows.map(row => ({ ...row, disks: (byBackup.get(row.id) ?? []).map(toDisk) }))
}

/** Another backup that has the restore point. */
async function ownerOf(
  manager: EntityManager,
  id: BackupId,
  restorePointId: string | null,
): Promise<BackupRow | null> {
  const backup = await manager.findOneBy(BackupEntity, { id })
  if (!backup || restorePointId === null) return null
  const { repositoryId } = backup
  return manager.findOneBy(BackupEntity, { id: Not(id), repositoryId, restorePointId, status: 'succeeded' })
}

async function insertDisks(
  manager: EntityManager,
  backupId: BackupId,
  disks: readonly BackupDisk[],
): Promise<void> {
  const rows = disks.map(({ key, bytes, ...disk }) => ({ ...disk, ...bytes, backupId, diskKey: key }))
  if (rows.length > 0) await manager.insert(BackupDiskEntity, rows)
}

function toDisk({ backupId: _backupId, diskKey, ...row }: BackupDiskRow): BackupDisk {
  const { logicalBytes, changedBytes, readBytes, newBytes, storedBytes, ...disk } = row
  return { ...disk, key: diskKey, bytes: { logicalBytes, changedBytes, readBytes, newBytes, storedBytes } }
}
