import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { restoreTarget } from './restore-target.ts'

let root: string
let directory: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'restore-target-'))
  directory = join(root, 'restores')
  await mkdir(directory)
})
afterEach(() => rm(root, { recursive: true }))

test('a relative path leads below the restore directory, in folders that are made', async () => {
  const target = await restoreTarget(directory, { path: 'db1/disk.raw', overwrite: false })
  expect(target).toBe(join(directory, 'db1/disk.raw'))
  await writeFile(target, 'x')
})

test.each(['../out.raw', 'a/../../out.raw', '/etc/passwd', '.', 'a\0b'])('%j is refused', async path => {
  const attempt = restoreTarget(directory, { path, overwrite: true })
  await expect(attempt).rejects.toMatchObject({ code: 'restore-target-invalid' })
})

test('a link inside the directory does not lead out of it', async () => {
  await symlink(root, join(directory, 'link'))
  const attempt = restoreTarget(directory, { path: 'link/out.raw', overwrite: true })
  await expect(attempt).rejects.toMatchObject({ code: 'restore-target-invalid' })
})

test('a file that is there is replaced only when that was asked for', async () => {
  await writeFile(join(directory, 'disk.raw'), 'old')
  const attempt = restoreTarget(directory, { path: 'disk.raw', overwrite: false })
  await expect(attempt).rejects.toMatchObject({ code: 'restore-target-exists' })
  expect(await restoreTarget(directory, { path: 'disk.raw', overwrite: true })).toBe(
    join(directory, 'disk.raw'),
  )
})

test('a folder is no target', async () => {
  await mkdir(join(directory, 'folder'))
  const attempt = restoreTarget(directory, { path: 'folder', overwrite: true })
  await expect(attempt).rejects.toMatchObject({ code: 'restore-target-invalid' })
})
