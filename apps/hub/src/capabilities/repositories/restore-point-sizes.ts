import type { Repository, RestorePointInfo } from '@sendense/engine'
import { z } from 'zod'

const MANIFEST_FILE = 'vm.json'
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
    let total = 0
    for (const restorePoint of restorePoints) total += await this.#sizeOf(repository, restorePoint)
    const present = new Set(restorePoints.map(({ id }) => id))
    for (const id of this.#bytesOf.keys()) if (!present.has(id)) this.#bytesOf.delete(id)
    return total
  }

  async #sizeOf(repository: Pick<Repository, 'readText'>, { id, paths }: RestorePointInfo): Promise<number> {
    const known = this.#bytesOf.get(id)
    if (known !== undefined) return known
    const bytes = paths.includes(MANIFEST_FILE) ? readSize(await repository.readText(id, MANIFEST_FILE)) : 0
    this.#bytesOf.set(id, bytes)
    return bytes
  }
}

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
