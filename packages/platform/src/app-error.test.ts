import { expect, test } from 'vitest'
import { AppError } from './app-error.ts'

test('a problem names code, status, page and occurrence', () => {
  const error = new AppError('not-found', { detail: 'No VM 7' })
  expect(error.toProblem('0190-1')).toEqual({
    type: '/problems/not-found',
    title: 'No such resource',
    status: 404,
    code: 'not-found',
    instance: 'urn:uuid:0190-1',
    detail: 'No VM 7',
  })
})

test('what is not ours becomes internal, and its text does not leave the process', () => {
  const error = AppError.from(new Error('password is hunter2'))
  expect(error.code).toBe('internal')
  expect(JSON.stringify([error.toProblem('1'), error.toFailure()])).not.toContain('hunter2')
  expect(error.cause).toMatchObject({ message: 'password is hunter2' })
})

test('an AppError passes through unchanged', () => {
  const error = new AppError('conflict')
  expect(AppError.from(error)).toBe(error)
  expect(error.toFailure()).toEqual({
    code: 'conflict',
    detail: 'The resource is in a conflicting state',
  })
})
