import { loadNativeModule } from './native-module.ts'
import { runJob } from './run-job.ts'
import type { CaptureDiskCounters, CaptureDiskOptions, CaptureDiskReport, JobOptions } from './types.ts'

/** The Node's side of a capture: reads one disk, and sends the Hub what its repository lacks. */
export async function captureDisk(
  { areas, limits = {}, ...rest }: CaptureDiskOptions,
  jobOptions?: JobOptions<CaptureDiskCounters>,
): Promise<CaptureDiskReport> {
  const extents = areas.kind === 'whole' ? [] : [...areas.extents]
  const options = { ...rest, areas: areas.kind, extents, limits }
  const { counters, durationMs } = await runJob(() => loadNativeModule().captureDisk(options), jobOptions)
  return { ...counters, durationMs }
}
