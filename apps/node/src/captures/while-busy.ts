import type { Clock } from '@sendense/platform'
import { VsphereError } from '@sendense/vsphere'
import { Backoff } from '../platform/backoff.ts'

/** How long a VM may be busy with another task before we give up. */
export interface BusyPatience {
  readonly clock: Clock
  readonly waitMs: number
}

/** Repeats a call as long as another task holds the VM: a snapshot of another tool, a migration, a consolidation. */
export async function whileBusy<T>(
  { clock, waitMs }: BusyPatience,
  signal: AbortSignal | undefined,
  call: () => Promise<T>,
): Promise<T> {
  const backoff = new Backoff({ firstMs: 1000, longestMs: 15_000 })
  const deadlineMs = clock.now().getTime() + waitMs
  for (;;) {
    try {
      return await call()
    } catch (error) {
      const isBusy = error instanceof VsphereError && error.kind === 'busy'
      if (!isBusy || clock.now().getTime() >= deadlineMs) throw error
    }
    await clock.sleep(backoff.nextMs(), signal)
  }
}
