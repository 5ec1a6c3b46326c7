import { expect, test, vi } from 'vitest'
import { type NativeJob, runJob } from './run-job.ts'

/** A job that ends when it is told to. */
function aJob() {
  const ended = Promise.withResolvers<string>()
  let samples = 0
  const job: NativeJob<string, { samples: number }> = {
    run: () => ended.promise,
    cancel: () => ended.reject(new Error('cancelled: Cancelled')),
    counters: () => ({ samples: ++samples }),
  }
  return { job, end: () => ended.resolve('done') }
}

test('a job that ends hands on its result and its last counters', async () => {
  const { job, end } = aJob()
  const seen: number[] = []
  const result = runJob(() => job, { onProgress: ({ samples }) => seen.push(samples) })
  end()
  expect(await result).toBe('done')
  expect(seen).toEqual([1])
})

test('counters are sampled once a second, and no more when the job has ended', async () => {
  vi.useFakeTimers()
  try {
    const { job, end } = aJob()
    const seen: number[] = []
    const result = runJob(() => job, { onProgress: ({ samples }) => seen.push(samples) })
    await vi.advanceTimersByTimeAsync(3500)
    expect(seen).toEqual([1, 2, 3])
    end()
    await result
    await vi.advanceTimersByTimeAsync(5000)
    expect(seen).toEqual([1, 2, 3, 4])
  } finally {
    vi.useRealTimers()
  }
})

test('aborting the signal cancels the job', async () => {
  const { job } = aJob()
  const controller = new AbortController()
  const result = runJob(() => job, { signal: controller.signal })
  controller.abort()
  await expect(result).rejects.toMatchObject({ name: 'EngineError', code: 'cancelled' })
})

test('a signal that is aborted already keeps the job from starting', async () => {
  const start = vi.fn(() => aJob().job)
  await expect(runJob(start, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'cancelled' })
  expect(start).not.toHaveBeenCalled()
})

test('a job that cannot be started is an engine error too', async () => {
  const start = () => {
    throw new Error('request-invalid: The disk key is not a name')
  }
  await expect(runJob(start)).rejects.toMatchObject({ code: 'request-invalid' })
})
