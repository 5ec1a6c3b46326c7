import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createClient } from '@sendense/client'
import { API_ROOT } from '@sendense/contracts'
import { pinnedAgent } from '@sendense/platform'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { HubFile } from '../src/platform/hub-file.ts'

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url))

let folder: string
let processes: ChildProcess[]
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sendense-hub-process-'))
  processes = []
})
afterEach(async () => {
  for (const child of processes) {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  }
  await rm(folder, { recursive: true })
})

interface HubProcess {
  readonly child: ChildProcess
  readonly stdout: Promise<string>
  readonly stderr: Promise<string>
}

function startHub(settings: Record<string, string> = {}): HubProcess {
  const env = {
    PATH: process.env.PATH,
    ...(process.env.SENDENSE_ENGINE && { SENDENSE_ENGINE: process.env.SENDENSE_ENGINE }),
    SENDENSE_HUB_DATA_DIR: join(folder, 'data'),
    SENDENSE_HUB_HOST: '127.0.0.1',
    SENDENSE_HUB_PORT: '0',
    SENDENSE_HUB_DATA_PLANE_PORT: '0',
    SENDENSE_HUB_PUBLIC_HOST: '127.0.0.1',
    ...settings,
  }
  const child = spawn(process.execPath, [MAIN], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  processes.push(child)
  return { child, stdout: text(child.stdout), stderr: text(child.stderr) }
}

/** Where the Hub is, once it says so. */
async function addressOf({ child, stderr }: HubProcess): Promise<HubFile> {
  const path = join(folder, 'data', 'hub.json')
  for (let i = 0; i < 300; i++) {
    if (child.exitCode !== null) throw new Error(`The Hub has ended: ${await stderr}`)
    const file = await readFile(path, 'utf8').then(JSON.parse, () => undefined)
    if (file?.pid === child.pid) return file
    await setTimeout(50)
  }
  throw new Error('The Hub did not say where it is')
}

async function healthOf({ url, certificateSha256 }: HubFile): Promise<string> {
  const httpsAgent = pinnedAgent({ certificateSha256 })
  try {
    return (await createClient({ baseUrl: url + API_ROOT, httpsAgent }).health.getHealth()).status
  } finally {
    httpsAgent.destroy()
  }
}

async function exitOf({ child }: HubProcess): Promise<number | null> {
  if (child.exitCode === null) await once(child, 'exit')
  return child.exitCode
}

test('the Hub starts, serves, and stops when it is told to', async () => {
  const hub = startHub()
  const address = await addressOf(hub)
  expect(await healthOf(address)).toBe('ok')
  const password = (await readFile(join(folder, 'data', 'initial-admin-password'), 'utf8')).trim()
  hub.child.kill('SIGTERM')
  expect(await exitOf(hub)).toBe(0)
  expect(await readdir(join(folder, 'data'))).not.toContain('hub.json')
  const lines = (await hub.stdout).trim().split('\n')
  expect(lines.map(line => JSON.parse(line).msg)).toContain('The Hub has stopped')
  expect(lines.join()).not.toContain(password)
  expect(await hub.stderr).toBe('')
})

test('what it keeps is for its own user only', async () => {
  const hub = startHub()
  await addressOf(hub)
  const names = await readdir(join(folder, 'data'), { recursive: true })
  expect(names).toContain('hub.db')
  for (const name of ['', ...names]) {
    const { mode } = await stat(join(folder, 'data', name))
    expect(mode & 0o077, `mode of ${name}`).toBe(0)
  }
})

test('after a kill the next one takes over at once, with the same certificate', async () => {
  const first = startHub()
  const before = await addressOf(first)
  first.child.kill('SIGKILL')
  await once(first.child, 'exit')
  const after = await addressOf(startHub())
  expect(after.certificateSha256).toBe(before.certificateSha256)
  expect(await healthOf(after)).toBe('ok')
})

test('a second Hub on the same data directory does not start', async () => {
  const first = await addressOf(startHub())
  const second = startHub()
  expect(await exitOf(second)).toBe(1)
  expect(await second.stderr).toMatch(/^sendense-hub: Another Hub is running .*\n$/)
  expect(await healthOf(first)).toBe('ok')
})

test('a Hub whose master key is gone does not start', async () => {
  const first = startHub()
  await addressOf(first)
  first.child.kill('SIGTERM')
  await exitOf(first)
  await rm(join(folder, 'data', 'master.key'))
  const second = startHub()
  expect(await exitOf(second)).toBe(1)
  expect(await second.stderr).toMatch(/^sendense-hub: The master key .* is missing/)
})

test.each([
  [{ SENDENSE_HUB_PORT: 'abc' }, 'port'],
  [{ SENDENSE_HUB_PROT: '1' }, 'prot'],
])('with the setting %j it says what is wrong, and ends', async (settings, words) => {
  const hub = startHub(settings)
  expect(await exitOf(hub)).toBe(1)
  expect(await hub.stderr).toContain(words)
  expect(await hub.stderr).not.toContain('    at ')
})
