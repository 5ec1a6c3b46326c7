import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { newId, type Principal } from '@sendense/platform'
import { FakeClock, memoryLog } from '@sendense/platform/testing'
import { beforeEach, expect, test } from 'vitest'
import { AuthService } from './auth.service.ts'
import { AuthMemoryStore } from './auth.store.memory.ts'
import { firstPassword } from './first-password.ts'

let clock: FakeClock
let log: ReturnType<typeof memoryLog>
let shown: string[]
let isForgotten: boolean
let store: AuthMemoryStore
let auth: AuthService

beforeEach(() => {
  clock = new FakeClock()
  log = memoryLog()
  shown = []
  isForgotten = false
  store = new AuthMemoryStore()
  auth = new AuthService({
    store,
    clock,
    log,
    firstPassword: {
      show: async (_username, password) => void shown.push(password),
      forget: async () => {
        isForgotten = true
      },
    },
  })
})

const login = (password: string, username = 'admin') => auth.login({ username, password }, '192.0.2.1')

/** Logs in as the first administrator. */
async function firstLogin(): Promise<{ token: string; password: string; principal: Principal }> {
  await auth.ensureFirstAdministrator()
  const password = shown[0] ?? ''
  const { token } = await login(password)
  const principal = await auth.authenticate(token)
  if (!principal) throw new Error('the token does not work')
  return { token, password, principal }
}

test('the first administrator is created once, and its password stays out of the log', async () => {
  await auth.ensureFirstAdministrator()
  await auth.ensureFirstAdministrator()
  expect(shown).toHaveLength(1)
  expect(JSON.stringify(log.lines)).not.toContain(shown[0])
})

test('with the one-time password only the own account is allowed', async () => {
  const { principal } = await firstLogin()
  expect(principal).toMatchObject({
    name: 'admin',
    role: 'administrator',
    refusal: 'password-change-required',
  })
  expect(principal.can('account:self')).toBe(true)
  expect(principal.can('inventory:read')).toBe(false)
})

test('after the change everything is allowed, and the one-time password is forgotten', async () => {
  const { principal, password, token } = await firstLogin()
  await auth.changePassword(principal, { currentPassword: password, newPassword: 'correct horse battery' })
  expect(isForgotten).toBe(true)
  expect((await auth.authenticate(token))?.can('inventory:read')).toBe(true)
  expect(await auth.getAccount(principal)).toMatchObject({ mustChangePassword: false })
  await expect(login(password)).rejects.toMatchObject({ code: 'credentials-invalid' })
  await login('correct horse battery', 'ADMIN')
})

test('changing the password ends the other sessions', async () => {
  const { principal, password, token } = await firstLogin()
  const other = await login(password)
  await auth.changePassword(principal, { currentPassword: password, newPassword: 'correct horse battery' })
  expect(await auth.authenticate(token)).toBeDefined()
  expect(await auth.authenticate(other.token)).toBeUndefined()
})

test('a wrong current password and the same password again are refused', async () => {
  const { principal, password } = await firstLogin()
  const change = (currentPassword: string, newPassword: string) =>
    auth.changePassword(principal, { currentPassword, newPassword })
  await expect(change('wrong', 'correct horse battery')).rejects.toMatchObject({
    code: 'credentials-invalid',
  })
  await expect(change(password, password)).rejects.toMatchObject({ code: 'request-invalid' })
})

test('wrong name and wrong password are told alike, and take about the same time', async () => {
  await auth.ensureFirstAdministrator()
  const timeOf = async (username: string) => {
    const startedMs = performance.now()
    await expect(login('wrong', username)).rejects.toMatchObject({
      code: 'credentials-invalid',
      message: 'The user name or the password is wrong',
    })
    return performance.now() - startedMs
  }
  await timeOf('nobody')
  const times = { known: 0, unknown: 0 }
  for (let i = 0; i < 8; i++) {
    times.known += await timeOf('admin')
    times.unknown += await timeOf('nobody')
  }
  // Without the hash of nobody the unknown name would be a hundred times faster.
  expect(times.unknown / times.known).toBeGreaterThan(0.3)
})

test('a token ends by logout, by time, and by revocation', async () => {
  const { principal, token, password } = await firstLogin()
  await auth.logout(principal)
  expect(await auth.authenticate(token)).toBeUndefined()
  const second = await login(password)
  await clock.advance(12 * 3_600_000)
  expect(await auth.authenticate(second.token)).toBeUndefined()
  const third = await login(password)
  await auth.revokeTokens(third.account.id)
  expect(await auth.authenticate(third.token)).toBeUndefined()
  expect(await auth.authenticate('never issued')).toBeUndefined()
})

test('a Node gets a token that opens the tunnel and nothing else', async () => {
  const nodeId = newId()
  const { token, expiresAt } = await auth.issueToken({
    subjectId: nodeId,
    name: 'site-a',
    role: 'node',
    lifetimeMs: 60_000,
  })
  expect(expiresAt).toEqual(new Date(clock.now().getTime() + 60_000))
  const principal = await auth.authenticate(token)
  expect(principal).toMatchObject({ id: nodeId, role: 'node' })
  expect(principal?.can('node:tunnel')).toBe(true)
  expect(principal?.can('account:self')).toBe(false)
  await auth.revokeTokens(nodeId)
  expect(await auth.authenticate(token)).toBeUndefined()
})

test('neither tokens nor passwords are stored as they are', async () => {
  const { token, password } = await firstLogin()
  const user = await store.findUser('admin')
  expect(user?.passwordHash).toMatch(/^\$argon2id\$/)
  expect(JSON.stringify([user, log.lines])).not.toContain(password)
  expect(JSON.stringify(log.lines)).not.toContain(token)
  expect(await store.findSession(token)).toBeUndefined()
})

test('the first password is printed on a terminal, or written to a file for the Hub alone', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'sendense-first-'))
  try {
    const printed: string[] = []
    const write = (text: string) => printed.push(text)
    await firstPassword({ dataDir, terminal: { isTTY: true, write }, log }).show('admin', 'one-time')
    expect(printed.join('')).toContain('one-time')
    const inFile = firstPassword({ dataDir, terminal: { write }, log })
    await inFile.show('admin', 'in-a-file')
    expect(printed.join('')).not.toContain('in-a-file')
    const path = join(dataDir, 'initial-admin-password')
    expect(await readFile(path, 'utf8')).toBe('in-a-file\n')
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    await inFile.forget()
    await expect(stat(path)).rejects.toThrow('ENOENT')
    expect(JSON.stringify(log.lines)).not.toMatch(/one-time"|in-a-file/)
  } finally {
    await rm(dataDir, { recursive: true })
  }
})
