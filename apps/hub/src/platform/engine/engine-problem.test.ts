import { EngineError } from '@sendense/engine'
import { expect, test } from 'vitest'
import { fromEngine } from './engine-problem.ts'

test.each([
  ['repository-full', 'repository-full'],
  ['capture-incomplete', 'capture-incomplete'],
  ['restore-target-exists', 'restore-target-exists'],
  ['cancelled', 'job-cancelled'],
  ['base-size-differs', 'internal'],
  ['engine-missing', 'internal'],
] as const)('%s of the engine is %s here', (code, expected) => {
  expect(fromEngine(new EngineError(code, 'What happened'))).toMatchObject({
    name: 'AppError',
    code: expected,
    message: 'What happened',
  })
})

test('other errors pass through', () => {
  const error = new Error('bug')
  expect(fromEngine(error)).toBe(error)
})
