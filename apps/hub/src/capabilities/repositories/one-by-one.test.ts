import { expect, test } from 'vitest'
import { OneByOne } from './one-by-one.ts'

test('what concerns the same thing is done in order, also after a failure, and the rest beside it', async () => {
  const oneByOne = new OneByOne<string>()
  const gate = Promise.withResolvers<void>()
  const seen: string[] = []
  const first = oneByOne.run('a', async () => {
    await gate.promise
    seen.push('first')
    throw new Error('no')
  })
  const second = oneByOne.run('a', async () => seen.push('second'))
  await oneByOne.run('b', async () => seen.push('beside'))
  expect(seen).toEqual(['beside'])
  gate.resolve()
  await expect(first).rejects.toThrow('no')
  await second
  expect(seen).toEqual(['beside', 'first', 'second'])
})
