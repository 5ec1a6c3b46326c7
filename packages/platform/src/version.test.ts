import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { VERSION } from './version.ts'

test('the version is the one of the packages', async () => {
  for (const name of ['../package.json', '../../../package.json', '../../../apps/hub/package.json']) {
    const { version } = JSON.parse(await readFile(new URL(name, import.meta.url), 'utf8')) as {
      version: string
    }
    expect(version).toBe(VERSION)
  }
})
