import { AppError } from '@sendense/platform'
import type { DiskReader, DiskReaders, DiskSource } from '../disk-reader/disk-reader.ts'

/** Disk readers without processes. Counts those that are open. */
export class FakeDiskReaders implements DiskReaders {
  readonly sources: DiskSource[] = []
  openCount = 0
  /** What `explain` says, one for each time it is asked; then it says what it was given. */
  readonly explanations: AppError[] = []

  async open(source: DiskSource, { signal }: { signal: AbortSignal }): Promise<DiskReader> {
    signal.throwIfAborted()
    this.sources.push(source)
    this.openCount++
    return {
      socketPath: `/run/${this.sources.length}`,
      explain: async error => this.explanations.shift() ?? AppError.from(error),
      [Symbol.asyncDispose]: async () => {
        this.openCount--
      },
    }
  }
}
