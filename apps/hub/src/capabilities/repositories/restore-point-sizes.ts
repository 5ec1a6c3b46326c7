import { EngineError, type EngineErrorCode, type Repository, type RestorePointInfo } from '@sendense/engine'
import { z } from 'zod'

const MANIFEST_FILE = 'vm.json'
/** So many are read at a time. */
const READS_MAX = 16
/** The part of `vm.json` that tells how large the disks are. */
const Manifest = z.object({ disks: z.array(z.object({ sizeBytes: z.int().nonnegative() })) })

/** How large the disks of restore points are. Restore points never change, so each is read once. */
export class RestorePointSizes {
  readonly #bytesOf = new Map<string, number>()

  /** Sum over all restore points of a repository; those of other programs count nothing. */
  async total(
    repository: Pick<Repository, 'readText'>,
    restorePoints: readonly RestorePointInfo[],
  ): Promise<number> {
    const present = new Set(restorePoints.map(({ id }) => id))
    for (const id of this.#bytesOf.keys()) if (!present.has(id)) this.#bytesOf.delete(id)
    const unread = restorePoints.filter(({ id }) => !this.#bytesOf.has(id))
    for (let start = 0; start < unread.length; start += READS_MAX) {
      const some = unread.slice(start, start + READS_MAX)
      await Promise.all(some.map(restorePoint => this.#read(repository, restorePoint)))
    }
    return [...this.#bytesOf.values()].reduce((sum, bytes) => sum + bytes, 0)
  }

  /** One that is damaged or gone counts nothing, and is tried again the next time: a verification tells of it. */
  async #read(repository: Pick<Repository, 'readText'>, { id, paths }: RestorePointInfo): Promise<void> {
    try {
      const text = paths.includes(MANIFEST_FILE) ? await repository.readText(id, MANIFEST_FILE) : ''
      this.#bytesOf.set(id, readSize(text))
    } catch (error) {
      if (!(error instanceof EngineError && UNREADABLE.has(error.code))) throw error
    }
  }
}

const UNREADABLE: ReadonlySet<EngineErrorCode> = new Set([
  'repository-damaged',
  'restore-point-damaged',
  'restore-point-missing',
])

function readSize(text: string): number {
  const manifest = Manifest.safeParse(toJson(text))
  return manifest.success ? manifest.data.disks.reduce((sum, disk) => sum + disk.sizeBytes, 0) : 0
}

function toJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
