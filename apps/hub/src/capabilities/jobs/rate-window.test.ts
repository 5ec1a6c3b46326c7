import { expect, test } from 'vitest'
import { RateWindow } from './rate-window.ts'

test('the rate is that of the last twenty seconds', () => {
  const rate = new RateWindow()
  expect(rate.bytesPerSecond(0)).toBeNull()
  rate.add(0, 0)
  expect(rate.bytesPerSecond(100)).toBeNull()
  for (let second = 1; second <= 60; second++)
    rate.add(second * 1000, second < 30 ? second : 30 + (second - 30) * 100)
  expect(rate.bytesPerSecond(60_000)).toBeCloseTo(100, 0)
})

test('it goes down when nothing comes any more', () => {
  const rate = new RateWindow()
  rate.add(0, 0)
  rate.add(1000, 1000)
  expect(rate.bytesPerSecond(1000)).toBe(1000)
  expect(rate.bytesPerSecond(10_000)).toBe(100)
})

test('a count that begins again does not make it negative', () => {
  const rate = new RateWindow()
  rate.add(0, 5000)
  rate.add(1000, 9000)
  rate.add(2000, 10)
  rate.add(3000, 1010)
  expect(rate.bytesPerSecond(3000)).toBe(1000)
})

test('many reports a second do not fill the memory or blur the rate', () => {
  const rate = new RateWindow()
  for (let i = 0; i <= 100_000; i++) rate.add(i, i)
  expect(rate.bytesPerSecond(100_000)).toBeCloseTo(1000, -1)
})
