import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Client } from '@sendense/client'
import { beforeEach, expect, onTestFinished, test } from 'vitest'
import { buildProgram } from '../build-program.ts'
import type { Terminal } from '../terminal.ts'

const ID = '0198f0a0-0000-7000-8000-000000000001'
const REPOSITORY = { id: ID, name: 'main', type: 's3', place: { type: 's3' }, limits: {}, storage: null }
/** What the Hub answers; a call that is not named gets one page with nothing in it. */
const ANSWERS: Record<string, unknown> = {
  listVms: { items: [{ id: ID, name: 'db1', disks: [] }] },
  listVcenters: { items: [{ id: ID, name: 'vc' }] },
  listRepositories: { items: [REPOSITORY] },
  updateRepository: REPOSITORY,
  startBackup: { jobId: ID, backupId: ID },
  listJobEvents: { events: [{ at: '2026-01-02T03:04:05.000Z', level: 'warn', message: 'Taken up again' }] },
}

let calls: { name: string; input: unknown }[]
let output: string[]
beforeEach(() => {
  calls = []
  output = []
})

async function run(...args: string[]): Promise<void> {
  const terminal: Terminal = {
    print: text => void output.push(text),
    remark: () => undefined,
    isInteractive: false,
    ask: async () => '',
    askSecret: async () => '',
    readAll: async () => 'the secret',
  }
  const client = async () => fakeClient()
  const context = { terminal, client, signal: new AbortController().signal }
  await buildProgram(context, '0.0.0').parseAsync(['--json', ...args], { from: 'user' })
}

function fakeClient(): Client {
  const call = (name: string) => async (input: unknown) => {
    calls.push({ name, input })
    return ANSWERS[name] ?? { items: [] }
  }
  const calling = new Proxy({}, { get: (_, name) => call(String(name)) })
  return new Proxy({}, { get: (_, name) => (name === 'then' ? undefined : calling) }) as Client
}

test.each<[line: string, call: string, filter: object]>([
  ['backup list --status missing', 'listBackups', { status: 'missing' }],
  ['jobs list --kind verify --state failed', 'listJobs', { kind: 'verify', state: 'failed' }],
  ['repository list --type s3', 'listRepositories', { type: 's3' }],
  ['node list --status revoked', 'listNodes', { status: 'revoked' }],
  ['vms list --vcenter vc --power off', 'listVms', { vcenterId: ID, powerState: 'off' }],
])('%s asks only for those', async (line, name, filter) => {
  await run(...line.split(' '))
  expect(calls.at(-1)).toMatchObject({ name, input: { query: filter } })
})

test('a backup is given its labels', async () => {
  await run('backup', 'run', 'db1', '--repo', 'main', '--no-wait', '--tag', 'why=before the update', 'who=me')
  expect(calls.at(-1)).toMatchObject({
    name: 'startBackup',
    input: { body: { tags: { why: 'before the update', who: 'me' } } },
  })
})

test('new credentials may come with the certificate of another authority', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sendense-cli-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const file = join(folder, 'ca.pem')
  await writeFile(file, 'the certificate')
  await run('repository', 'credentials', 'main', '--secret-stdin', '--ca-file', file)
  expect(calls.at(-1)).toMatchObject({
    name: 'updateRepository',
    input: { body: { credentials: { type: 's3', caPem: 'the certificate', secretAccessKey: 'the secret' } } },
  })
})

test('the history of a job is shown', async () => {
  await run('jobs', 'events', ID)
  expect(calls).toEqual([{ name: 'listJobEvents', input: { params: { jobId: ID } } }])
  expect(output.join('')).toContain('Taken up again')
})
