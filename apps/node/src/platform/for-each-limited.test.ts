import { expect, test } from 'vitest'
import { forEachLimited } from './for-each-limited.ts'

const never = new AbortController().signal
const aTurn = () => new Promise(resolve => setImmediate(resolve))

test('no more than the allowed number run at once, and all run', async () => {
  let running = 0
  let most = 0
  const done: number[] = []
  await forEachLimited([1, 2, 3, 4, 5], { atOnce: 2, signal: never }, async item => {
    most = Math.max(most, ++running)
    await aTurn()
    running--
    done.push(item)
  })
  expect(most).toBe(2)
  expect(done.toSorted()).toEqual([1, 2, 3, 4, 5])
})

test('the first failure aborts the others, is thrown, and only when all have ended', async () => {
  const events: string[] = []
  const work = forEachLimited(
    ['fails', 'waits', 'never begins'],
    { atOnce: 2, signal: never },
    async (item, signal) => {
      events.push(item)
      if (item === 'fails') throw new Error('first')
      await new Promise(resolve => signal.addEventListener('abort', resolve))
      await aTurn()
      events.push('ended')
      throw new Error('second')
    },
  )
  await expect(work).rejects.toThrow('first')
  expect(events).toEqual(['fails', 'waits', 'ended'])
})

test('an abort from outside reaches the tasks', async () => {
  const abort = new AbortController()
  const work = forEachLimited([1, 2], { atOnce: 1, signal: abort.signal }, async (_item, signal) => {
    abort.abort(new Error('enough'))
    signal.throwIfAborted()
  })
  await expect(work).rejects.toThrow('enough')
})
