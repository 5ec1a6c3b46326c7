import { expect, test } from 'vitest'
import { BoundedLines } from './bounded-lines.ts'

test('secrets are blotted out in every spelling, also across pieces', () => {
  const lines = new BoundedLines({ secrets: ['p"ss &1'] })
  expect(lines.add('plain p"ss &1 encoded p%22ss%20%261 json p\\"ss &1\nsplit p"s')).toEqual([
    'plain *** encoded *** json ***',
  ])
  expect(lines.add('s &1!\n')).toEqual(['split ***!'])
  lines.add('not yet ended p"ss &1')
  expect(lines.toString()).toContain('not yet ended ***')
})

test('only the last lines are kept, and no endless one', () => {
  const lines = new BoundedLines({ linesMax: 3, secrets: [] })
  for (let i = 0; i < 10; i++) lines.add(`line ${i}\n`)
  expect(lines.toString()).toBe('line 7\nline 8\nline 9')
  for (let i = 0; i < 100; i++) lines.add('x'.repeat(1000))
  expect(lines.toString().length).toBeLessThan(5000)
})
