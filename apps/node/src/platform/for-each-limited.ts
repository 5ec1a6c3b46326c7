/**
 * Runs a task for each item, at most so many at once. When one fails, the signal that the others were given is
 * aborted, no further one begins, and the first failure is thrown after all have ended.
 */
export async function forEachLimited<T>(
  items: readonly T[],
  { atOnce, signal }: { atOnce: number; signal: AbortSignal },
  task: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const failed = new AbortController()
  const both = AbortSignal.any([signal, failed.signal])
  const waiting = [...items]
  const worker = async () => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) {
      both.throwIfAborted()
      await task(item, both)
    }
  }
  let first: { error: unknown } | undefined
  const noteFailure = (error: unknown) => {
    first ??= { error }
    failed.abort(error)
  }
  const workers = Array.from({ length: Math.min(atOnce, items.length) }, () => worker().catch(noteFailure))
  await Promise.all(workers)
  if (first) throw first.error
}
