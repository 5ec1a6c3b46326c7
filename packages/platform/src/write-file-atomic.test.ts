import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { writeFileAtomic } from './write-file-atomic.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sendense-write-'))
})
afterEach(() => rm(folder, { recursive: true }))

test('writes, replaces, keeps the mode and leaves nothing else behind', async () => {
  const path = join(folder, 'state.json')
  await writeFileAtomic(path, 'one')
  await writeFileAtomic(path, 'two', { mode: 0o640 })
  expect(await readFile(path, 'utf8')).toBe('two')
  expect((await stat(path)).mode & 0o777).toBe(0o640)
  expect(await readdir(folder)).toEqual(['state.json'])
})

test('a write that fails leaves the old content and no temporary file', async () => {
  const path = join(folder, 'state')
  await writeFileAtomic(join(folder, 'state-of-old'), 'old')
  const { mkdir } = await import('node:fs/promises')
  await mkdir(path)
  await expect(writeFileAtomic(path, 'new')).rejects.toThrow()
  expect((await readdir(folder)).sort()).toEqual(['state', 'state-of-old'])
})

test('many writers at once leave one whole content', async () => {
  const path = join(folder, 'state')
  const texts = Array.from({ length: 10 }, (_, i) => `${i}`.repeat(10_000))
  await Promise.all(texts.map(text => writeFileAtomic(path, text)))
  expect(texts).toContain(await readFile(path, 'utf8'))
  expect(await readdir(folder)).toEqual(['state'])
})
