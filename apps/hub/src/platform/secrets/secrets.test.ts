import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { testDatabases } from '../../testing/test-database.ts'
import { Settings } from '../database/index.ts'
import { openMasterKey } from './open-master-key.ts'
import { SecretBox } from './secret-box.ts'

const databases = testDatabases()
let folder: string
let settings: Settings
let keyPath: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sendense-key-'))
  keyPath = join(folder, 'master.key')
  settings = new Settings(await databases.open())
})
afterEach(() => rm(folder, { recursive: true }))

test('a secret opens with its key and its context only', () => {
  const box = new SecretBox(Buffer.alloc(32, 1))
  const sealed = box.seal('hunter2 ü', 'repository 1')
  expect(sealed).not.toContain('hunter2')
  expect(box.seal('hunter2 ü', 'repository 1')).not.toBe(sealed)
  expect(box.open(sealed, 'repository 1')).toBe('hunter2 ü')
  expect(() => box.open(sealed, 'repository 2')).toThrow('cannot be opened')
  expect(() => new SecretBox(Buffer.alloc(32, 2)).open(sealed, 'repository 1')).toThrow('cannot be opened')
})

test('changed sealed text does not open', () => {
  const box = new SecretBox(Buffer.alloc(32, 1))
  const sealed = box.seal('secret', 'a')
  const bytes = Buffer.from(sealed.slice(3), 'base64url')
  for (let at = 0; at < bytes.length; at++) {
    const changed = Buffer.from(bytes)
    changed[at] = (changed[at] ?? 0) ^ 1
    expect(() => box.open(`v1.${changed.toString('base64url')}`, 'a')).toThrow('cannot be opened')
  }
  for (const other of ['', 'v1.', 'v2.abc', 'plain text']) expect(() => box.open(other, 'a')).toThrow()
})

test('the key is made at the first start, for the Hub alone, and found at the next', async () => {
  const first = await openMasterKey(folder, settings)
  expect((await stat(keyPath)).mode & 0o777).toBe(0o600)
  const second = await openMasterKey(folder, settings)
  expect(second.open(first.seal('x', 'y'), 'y')).toBe('x')
})

test('a key that is gone is never replaced while the database needs it', async () => {
  await openMasterKey(folder, settings)
  await rm(keyPath)
  await expect(openMasterKey(folder, settings)).rejects.toThrow('is missing')
  await expect(stat(keyPath)).rejects.toThrow('ENOENT')
})

test('another, a damaged and a readable key are refused', async () => {
  await openMasterKey(folder, settings)
  const key = await readFile(keyPath, 'utf8')
  await writeFile(keyPath, 'ab'.repeat(32))
  await expect(openMasterKey(folder, settings)).rejects.toThrow('not the one')
  await writeFile(keyPath, key.slice(0, 20))
  await expect(openMasterKey(folder, settings)).rejects.toThrow('damaged')
  await writeFile(keyPath, key)
  await chmod(keyPath, 0o644)
  await expect(openMasterKey(folder, settings)).rejects.toThrow('0600')
})

test('a key whose database was lost before it knew of it is taken', async () => {
  const first = await openMasterKey(folder, settings)
  const fresh = new Settings(await databases.open())
  expect((await openMasterKey(folder, fresh)).fingerprint).toBe(first.fingerprint)
})
