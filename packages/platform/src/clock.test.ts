import { expect, test } from 'vitest'
import { systemClock } from './clock.ts'
import { FakeClock } from './testing/fake-clock.ts'

for (const [name, makeClock, pass] of [
  ['the system clock', () => systemClock, () => {}],
  ['the fake clock', () => new FakeClock(), (clock: unknown) => void (clock as FakeClock).advance(50)],
] as const) {
  test(`${name} sleeps and moves on`, async () => {
    const clock = makeClock()
    const before = clock.now().getTime()
    const slept = clock.sleep(20)
    pass(clock)
    await slept
    expect(clock.now().getTime()).toBeGreaterThanOrEqual(before + 19)
  })

  test(`${name} stops sleeping with the reason of the signal`, async () => {
    const stop = new AbortController()
    const slept = makeClock().sleep(60_000, stop.signal)
    stop.abort(new Error('enough'))
    await expect(slept).rejects.toThrow('enough')
  })
}

test('the fake clock wakes sleepers in the order of their time', async () => {
  const clock = new FakeClock()
  const woken: number[] = []
  const all = [30, 10, 20].map(ms => clock.sleep(ms).then(() => woken.push(ms)))
  await clock.advance(15)
  expect(woken).toEqual([10])
  await clock.advance(15)
  await Promise.all(all)
  expect(woken).toEqual([10, 20, 30])
})
