import { type ByteCounters, type JobId, NO_BYTES } from '@sendense/contracts'
import type { CaptureDiskCounters } from '@sendense/engine'
import type { Clock } from '@sendense/platform'
import type { HubCalls } from '../hub-link/hub-calls.ts'

const INTERVAL_MS = 1000

interface DiskProgress {
  readonly diskKey: number
  readonly bytes: ByteCounters
  readonly isDone: boolean
}

/** Counts the bytes of a capture disk by disk, and tells the Hub once a second while it is watched. */
export class CaptureProgress {
  readonly #jobId: JobId
  readonly #hub: HubCalls
  readonly #clock: Clock
  readonly #disks = new Map<number, DiskProgress>()

  constructor({ jobId, hub, clock }: { jobId: JobId; hub: HubCalls; clock: Clock }) {
    this.#jobId = jobId
    this.#hub = hub
    this.#clock = clock
  }

  /** A disk will be read. */
  expect(diskKey: number, logicalBytes: number): void {
    this.#disks.set(diskKey, { diskKey, bytes: { ...NO_BYTES, logicalBytes }, isDone: false })
  }

  update(diskKey: number, counters: CaptureDiskCounters, isDone = false): void {
    this.#disks.set(diskKey, { diskKey, bytes: toByteCounters(counters), isDone })
  }

  /** The counters of all disks, as they are now. */
  bytesOfDisks(): { diskKey: number; bytes: ByteCounters }[] {
    return [...this.#disks.values()].map(({ diskKey, bytes }) => ({ diskKey, bytes }))
  }

  /** Reports while something goes on, and once more at its end. */
  async during<T>(work: Promise<T>): Promise<T> {
    const ended = new AbortController()
    const reporting = this.#reportUntil(ended.signal)
    try {
      return await work
    } finally {
      ended.abort()
      await reporting
    }
  }

  async #reportUntil(ended: AbortSignal): Promise<void> {
    for (;;) {
      // A report that nobody hears is not kept: the next one says more.
      await this.#hub.tell(hub =>
        hub.reportProgress({ jobId: this.#jobId, disks: [...this.#disks.values()] }),
      )
      if (ended.aborted) return
      await this.#clock.sleep(INTERVAL_MS, ended).catch(() => undefined)
    }
  }
}

function toByteCounters(counters: CaptureDiskCounters): ByteCounters {
  const { logicalBytes, changedBytes, readBytes, newBytes, storedBytes } = counters
  return { logicalBytes, changedBytes, readBytes, newBytes, storedBytes }
}
