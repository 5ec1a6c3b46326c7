import type {
  RepositoryId,
  RepositoryLimits,
  RepositorySpace,
  RepositoryStatistics,
  RepositoryStorage,
  StorageRefresh,
  StorageSummary,
} from '@sendense/contracts'
import { AppError, type Clock, type Logger } from '@sendense/platform'
import type { z } from 'zod'
import { throwFromEngine } from '../../platform/engine/engine-problem.ts'
import type { OpenRepositories } from './open-repositories.ts'
import type { RepositoriesStore, RepositoryRecord } from './repositories.store.ts'
import { RestorePointSizes } from './restore-point-sizes.ts'

/** What must be left of a place or of a quota for it not to be called short. */
const LOW_RATIO = 0.1

interface Options {
  store: Pick<RepositoriesStore, 'get' | 'listAll' | 'change'>
  opened: OpenRepositories
  clock: Clock
  log: Logger
}

/** How much repositories hold, and whether there is room for more. */
export class RepositoryStorageService {
  readonly #options: Options
  readonly #sizes = new Map<RepositoryId, RestorePointSizes>()
  /** What is being measured for nobody in particular, and whether it has been asked for again. */
  readonly #measuring = new Map<RepositoryId, boolean>()

  constructor(options: Options) {
    this.#options = options
  }

  /** Measures a repository, and keeps the numbers for lists and summaries. */
  async measure(id: RepositoryId): Promise<RepositoryStorage> {
    const { store, opened, clock } = this.#options
    const record = await this.#find(id)
    const repository = await opened.open(record)
    const { totalBytes, freeBytes, usedBytes, chunkCount } = await repository.storage().catch(throwFromEngine)
    const restorePoints = await repository.restorePoints().catch(throwFromEngine)
    const storage: RepositoryStorage = {
      repositoryId: id,
      totalBytes,
      freeBytes,
      usedBytes,
      logicalBytes: await this.#sizesOf(id).total(repository, restorePoints).catch(throwFromEngine),
      restorePointCount: restorePoints.length,
      chunkCount,
      space: spaceOf({ totalBytes, freeBytes, usedBytes }, record.limits),
      checkedAt: clock.now().toISOString(),
    }
    await store.change(id, { storage })
    return storage
  }

  /** Measures after something has changed, for whoever does not wait for it. Asked meanwhile, it measures once more. */
  measureSoon(id: RepositoryId): void {
    if (this.#measuring.has(id)) {
      this.#measuring.set(id, true)
      return
    }
    this.#measuring.set(id, false)
    this.measure(id)
      .catch(error =>
        this.#options.log.warn('The storage of a repository could not be measured', {
          repositoryId: id,
          error,
        }),
      )
      .finally(() => {
        const isAskedAgain = this.#measuring.get(id)
        this.#measuring.delete(id)
        if (isAskedAgain) this.measureSoon(id)
      })
  }

  /** Measures all of them. One that cannot be measured does not keep the others from it. */
  async refreshAll(): Promise<z.input<typeof StorageRefresh>> {
    const results: z.input<typeof StorageRefresh>['results'] = []
    for (const { id, isEnabled } of await this.#options.store.listAll()) {
      if (!isEnabled) continue
      try {
        results.push({ repositoryId: id, storage: await this.measure(id), failure: null })
      } catch (error) {
        results.push({ repositoryId: id, storage: null, failure: AppError.from(error).toFailure() })
      }
    }
    return { results }
  }

  /** Adds up what was measured last; measures nothing. */
  async summary(): Promise<z.input<typeof StorageSummary>> {
    const records = await this.#options.store.listAll()
    const measured = records.flatMap(({ storage }) => storage ?? [])
    const sum = (field: 'totalBytes' | 'freeBytes' | 'usedBytes' | 'logicalBytes' | 'restorePointCount') =>
      measured.reduce((total, storage) => total + (storage[field] ?? 0), 0)
    return {
      repositoryCount: records.length,
      unavailableCount: records.filter(({ id, isEnabled }) => isEnabled && !this.#options.opened.has(id))
        .length,
      totalBytes: sum('totalBytes'),
      freeBytes: sum('freeBytes'),
      usedBytes: sum('usedBytes'),
      logicalBytes: sum('logicalBytes'),
      restorePointCount: sum('restorePointCount'),
      short: records.flatMap(shortOf),
      oldestCheckAt: measured.map(({ checkedAt }) => checkedAt).sort()[0] ?? null,
    }
  }

  /** Counts what a repository holds. */
  async statistics(id: RepositoryId): Promise<z.input<typeof RepositoryStatistics>> {
    const repository = await this.#options.opened.open(await this.#find(id))
    const counted = await repository.statistics().catch(throwFromEngine)
    return {
      ...counted,
      repositoryId: id,
      dedupFactor: ratio(counted.logicalBytes, counted.uniqueBytes),
      compressionFactor: ratio(counted.uniqueBytes, counted.storedBytes),
      measuredAt: this.#options.clock.now().toISOString(),
    }
  }

  #sizesOf(id: RepositoryId): RestorePointSizes {
    const known = this.#sizes.get(id) ?? new RestorePointSizes()
    this.#sizes.set(id, known)
    return known
  }

  async #find(id: RepositoryId): Promise<RepositoryRecord> {
    const record = await this.#options.store.get(id)
    if (!record) throw new AppError('not-found', { detail: `There is no repository ${id}.` })
    return record
  }
}

type Measured = Pick<RepositoryStorage, 'totalBytes' | 'freeBytes' | 'usedBytes'>

/** Whether there is room for more, with what is kept free and what it may hold at most. */
export function spaceOf(measured: Measured, limits: RepositoryLimits): RepositorySpace {
  const { totalBytes, freeBytes } = measured
  const left = leftOf(measured, limits)
  if (left === null) return 'ok'
  if (left === 0) return 'full'
  const isPlaceLow = freeBytes !== null && totalBytes !== null && freeBytes < totalBytes * LOW_RATIO
  const isQuotaLow = limits.quotaBytes !== null && left < limits.quotaBytes * LOW_RATIO
  return isPlaceLow || isQuotaLow ? 'low' : 'ok'
}

/** How much may still be stored; null where nothing says so. */
function leftOf({ freeBytes, usedBytes }: Measured, limits: RepositoryLimits): number | null {
  const bounds = [
    ...(limits.quotaBytes === null ? [] : [limits.quotaBytes - usedBytes]),
    ...(freeBytes === null ? [] : [freeBytes - (limits.reserveBytes ?? 0)]),
  ]
  return bounds.length === 0 ? null : Math.max(0, Math.min(...bounds))
}

function shortOf({ id, name, storage, limits }: RepositoryRecord) {
  if (!storage) return []
  // The limits may have changed since it was measured.
  const space = spaceOf(storage, limits)
  return space === 'ok' ? [] : [{ repositoryId: id, name, space, freeBytes: leftOf(storage, limits) }]
}

function ratio(one: number, other: number): number | null {
  return other === 0 ? null : Math.round((one / other) * 100) / 100
}
