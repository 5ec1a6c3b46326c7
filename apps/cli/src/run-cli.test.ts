import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Command } from 'commander'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { buildProgram } from './build-program.ts'
import { runCli } from './run-cli.ts'
import { readSession, writeSession } from './session-file.ts'
import type { Terminal } from './terminal.ts'

let folder: string
let output: string[]
let remarks: string[]
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sendense-cli-'))
  process.env.SENDENSE_SESSION_FILE = join(folder, 'session.json')
  output = []
  remarks = []
})
afterEach(async () => {
  delete process.env.SENDENSE_SESSION_FILE
  await rm(folder, { recursive: true })
})

const S3 = ['x', '--endpoint', 'https://a', '--bucket', 'b', '--access-key', 'k']

test('help goes to standard output and ends well', async () => {
  expect(await run('backup', '--help')).toBe(0)
  expect(output.join('\n')).toContain('read every byte of a restore point back')
  expect(remarks).toEqual([])
})

test.each([
  [['no-such-command'], 'unknown command'],
  [['backup', 'run', 'vm'], '--repo'],
  [['backup', 'show', 'not-an-id'], 'no backup id'],
  [['jobs', 'watch', 'not-an-id'], 'no job id'],
  [['restore', 'disk', 'x', '--disk', 'first'], 'no device key'],
  [['repository', 'add', 's3', 'x', '--bucket', 'b', '--access-key', 'k'], '--endpoint'],
  [['repository', 'add', 'local', 'x', 'relative'], 'path of the place'],
  [['repository', 'add', 'local', 'x', '/x', '--quota', 'much'], '500MiB'],
  [
    ['repository', 'add', 'rest', 'x', 'https://x', '--username', 'u', '--secret-env', 'NOT_SET_HERE'],
    'NOT_SET_HERE',
  ],
  [
    ['repository', 'add', 'rest', 'x', 'https://u:p@x', '--username', 'u', '--secret-stdin'],
    'url of the place',
  ],
  [['repository', 'add', 's3', ...S3, '--secret-stdin', '--password-stdin'], 'Only one secret'],
  [['repository', 'update', 'x', '--enable', '--disable'], 'exclude each other'],
  [['backup', 'forget', 'main'], 'one rule at least'],
  [['backup', 'copy', 'not-an-id', '--to', 'x'], 'no backup id'],
  [['login'], '--server'],
  [['login', '--server', 'http://hub'], 'https://'],
])('a wrong command line %j is refused with words', async (args, words) => {
  expect(await run(...args)).toBe(2)
  expect(remarks.join('\n')).toContain(words)
  expect(output).toEqual([])
})

test('no secret can be given as an option: everybody on the machine would see it', () => {
  const program = buildProgram({} as never, '0.0.0')
  const options = (command: Command): string[] => [
    ...command.options.map(option => option.flags),
    ...command.commands.flatMap(child => options(child as Command)),
  ]
  const secret = options(program).filter(flags => /secret|password|private|account-key/i.test(flags))
  expect(secret.length).toBeGreaterThan(5)
  for (const flags of secret) expect(flags).toMatch(/^--[a-z-]*(-stdin|-env <variable>)$/)
})

test('every command that a page of a problem advises exists', async () => {
  const pages = join(import.meta.dirname, '../../../docs/problems')
  const texts = await Promise.all((await readdir(pages)).map(name => readFile(join(pages, name), 'utf8')))
  const advised = texts.flatMap(text =>
    [...text.matchAll(/`sendense ([^`]+)`/g)].map(([, line]) => line ?? ''),
  )
  expect(advised.length).toBeGreaterThan(10)
  for (const line of advised) {
    let found: Command = buildProgram({} as never, '0.0.0')
    for (const word of line.split(' ').filter(one => !one.startsWith('<'))) {
      if (word.startsWith('--')) {
        expect(
          found.options.map(option => option.long),
          line,
        ).toContain(word)
        continue
      }
      if (found.commands.length === 0) continue
      const next = found.commands.find(one => one.name() === word)
      expect(next, line).toBeDefined()
      found = next as Command
    }
    expect(found.commands, line).toEqual([])
  }
})

test('without a session the person is told to log in', async () => {
  expect(await run('vms', 'list')).toBe(4)
  expect(remarks).toEqual(['Nobody is logged in. Run: sendense login'])
})

test('a Hub that cannot be reached is named as such', async () => {
  expect(await run('login', '--server', 'https://127.0.0.1:1', '--password-stdin')).toBe(3)
  expect(remarks.join('\n')).toContain('cannot be reached')
})

test('the session file is for its owner only', async () => {
  const session = { url: 'https://hub', certificatePem: 'pem', token: 't', expiresAt: '', username: 'admin' }
  await writeSession(session)
  expect(await readSession()).toEqual(session)
  const { mode } = await stat(join(folder, 'session.json'))
  expect(mode & 0o777).toBe(0o600)
})

function run(...args: string[]): Promise<number> {
  const terminal: Terminal = {
    print: text => void output.push(text),
    remark: text => void remarks.push(text),
    isInteractive: false,
    ask: async () => '',
    askSecret: async () => '',
    readAll: async () => 'password',
  }
  return runCli(args, { terminal, version: '0.0.0', signal: new AbortController().signal })
}
