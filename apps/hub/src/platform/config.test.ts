import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readConfig } from './config.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sendense-config-'))
})
afterAll(() => rm(folder, { recursive: true }))

test('defaults follow the data directory', async () => {
  expect(await readConfig({ SENDENSE_HUB_DATA_DIR: '/srv/hub', HOME: '/root' })).toMatchObject({
    port: 8443,
    dataPlaneHost: '0.0.0.0',
    dataPlanePort: 8444,
    restoreDir: '/srv/hub/restores',
    databaseUrl: 'sqlite:/srv/hub/hub.db',
    logLevel: 'info',
  })
})

test('the environment wins over the file', async () => {
  const file = join(folder, 'hub.json')
  await writeFile(file, JSON.stringify({ port: 1, host: '127.0.0.1', dataDir: '/srv/a' }))
  expect(await readConfig({ SENDENSE_HUB_CONFIG: file, SENDENSE_HUB_PORT: '2' })).toMatchObject({
    port: 2,
    host: '127.0.0.1',
    dataPlaneHost: '127.0.0.1',
    dataDir: '/srv/a',
  })
})

test.each([
  [{ SENDENSE_HUB_PORT: '70000' }, /port/],
  [{ SENDENSE_HUB_PROT: '8443' }, /"prot"/],
  [{ SENDENSE_HUB_LOG_LEVEL: 'loud' }, /logLevel/],
  [{ SENDENSE_HUB_CERTIFICATE_FILE: '/a.pem' }, /go together/],
  [{ SENDENSE_HUB_CONFIG: '/nonexistent.json' }, /nonexistent\.json cannot be read/],
])('%j is refused with words that say where', async (env, words) => {
  await expect(readConfig(env)).rejects.toThrow(words)
})

test('a password in a wrong setting or a broken file is not repeated', async () => {
  const file = join(folder, 'broken.json')
  await writeFile(file, '{"databaseUrl": "mysql://hub:hunter2@db/hub"')
  const errors = await Promise.all([
    readConfig({ SENDENSE_HUB_CONFIG: file }).catch(String),
    readConfig({ SENDENSE_HUB_DATABASE_URL: 'postgres://hub:hunter2@db/hub' }).catch(String),
  ])
  expect(errors.join()).toContain('ConfigError')
  expect(errors.join()).not.toContain('hunter2')
})
