import { EngineError, toEngineError } from './engine-error.ts'
import type { JobOptions } from './types.ts'

/** A long operation of the native module. Dropping its promise would not stop it, `cancel` does. */
export interface NativeJob<Result, Counters> {
  run(): Promise<Result>
  cancel(): void
  counters(): Counters
}

const PROGRESS_INTERVAL_MS = 1000

/** Runs a native operation under an `AbortSignal`, and samples its counters. */
export async function runJob<Result, Counters>(
  start: () => NativeJob<Result, Counters>,
  { signal, onProgress }: JobOptions<Counters> = {},
): Promise<Result> {
  if (signal?.aborted)
    throw new EngineError('cancelled', 'Cancelled before it began', { cause: signal.reason })
  try {
    return await follow(start(), signal, onProgress)
  } catch (error) {
    throw toEngineError(error)
  }
}

async function follow<Result, Counters>(
  job: NativeJob<Result, Counters>,
  signal: AbortSignal | undefined,
  onProgress: ((counters: Counters) => void) | undefined,
): Promise<Result> {
  const cancel = () => job.cancel()
  signal?.addEventListener('abort', cancel, { once: true })
  const timer = onProgress && setInterval(() => onProgress(job.counters()), PROGRESS_INTERVAL_MS)
  try {
    const result = await job.run()
    onProgress?.(job.counters())
    return result
  } finally {
    clearInterval(timer)
    signal?.removeEventListener('abort', cancel)
  }
}
