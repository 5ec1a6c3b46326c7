import { expect, test } from 'vitest'
import { callNative, EngineError, toEngineError } from './engine-error.ts'

test('the code in front of a native message becomes the code of the error', () => {
  const error = toEngineError(new Error('repository-full: No space left: 3 packs written'))
  expect(error).toBeInstanceOf(EngineError)
  expect(error.code).toBe('repository-full')
  expect(error.message).toBe('No space left: 3 packs written')
  expect(error.temporary).toBe(false)
})

test('an exclamation mark after the code says that trying again may help', () => {
  const error = toEngineError(new Error('data-plane-unreachable!: No answer for 60 s'))
  expect(error).toMatchObject({ code: 'data-plane-unreachable', temporary: true })
})

test('a message over several lines is kept whole', () => {
  expect(toEngineError(new Error('internal: one\ntwo')).message).toBe('one\ntwo')
})

test.each(['no code at all', 'unknown-code: text', 'Error: text', ''])('%j is an internal error', text => {
  expect(toEngineError(new Error(text))).toMatchObject({ code: 'internal', message: text })
})

test('an error of ours is not wrapped again, and what is no error is told all the same', () => {
  const error = new EngineError('cancelled', 'Cancelled')
  expect(toEngineError(error)).toBe(error)
  expect(toEngineError('text')).toMatchObject({ code: 'internal', message: 'text' })
})

test('what the native module throws at once is translated like what it rejects with', async () => {
  const thrown = callNative(() => {
    throw new Error('request-invalid: A number was expected')
  })
  await expect(thrown).rejects.toMatchObject({ code: 'request-invalid' })
})
