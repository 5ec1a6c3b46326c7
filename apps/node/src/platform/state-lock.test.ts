import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openStateDirectory } from './state-directory.ts'
import { takeStateLock } from './state-lock.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sendense-lock-'))
})
afterEach(() => rm(folder, { recursive: true }))

test('a second Node is told who is there, and the lock is free when it is given back', () => {
  const path = join(folder, 'lock')
  const lock = takeStateLock(path)
  expect(() => takeStateLock(path)).toThrow('Another Node uses this state directory')
  lock[Symbol.dispose]()
  takeStateLock(path)[Symbol.dispose]()
})

test('a lock dies with its process, even by SIGKILL', async () => {
  const path = join(folder, 'lock')
  const script = `import { takeStateLock } from ${JSON.stringify(new URL('state-lock.ts', import.meta.url).href)}
    takeStateLock(${JSON.stringify(path)}); console.log('locked'); setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  expect(() => takeStateLock(path)).toThrow('Another Node')
  child.kill('SIGKILL')
  await once(child, 'exit')
  takeStateLock(path)[Symbol.dispose]()
})

test('a place that cannot be locked is an error of its own', () => {
  expect(() => takeStateLock(join(folder, 'no', 'lock'))).toThrow('ENOENT')
})

test('the state directory is for the Node’s user only, also when it was there before', async () => {
  using state = await openStateDirectory(join(folder, 'state'))
  expect((await stat(join(folder, 'state'))).mode & 0o777).toBe(0o700)
  expect((await stat(state.runDirectory)).mode & 0o777).toBe(0o700)
})
