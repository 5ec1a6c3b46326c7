import { readdir, readFile, stat } from 'node:fs/promises'
import { createClientOf } from '@sendense/client'
import { nodeApi } from '@sendense/contracts'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { FakeHub } from '../../apps/node/src/testing/fake-hub.ts'
import { waitFor } from '../support/child.ts'
import { makePrivateDir, type PrivateDir } from '../support/private-dir.ts'
import { runProgram, startProgram } from '../support/program.ts'

const MAIN = 'apps/node/src/main.ts'

let dir: PrivateDir
let hub: FakeHub
let env: Record<string, string>

beforeEach(async () => {
  dir = await makePrivateDir('node')
  hub = await FakeHub.start()
  env = { SENDENSE_NODE_STATE_DIR: dir.join('state'), SENDENSE_NODE_API_PORT: '0' }
})
afterEach(async () => {
  await hub[Symbol.asyncDispose]()
  await dir[Symbol.asyncDispose]()
})

const pair = (stdin = hub.pairingCode, ...more: string[]) =>
  runProgram(MAIN, ['pair', '--hub', hub.url, ...more], { env, stdin })

/** The API of a Node that runs on the state directory of this test. */
async function api() {
  const text = await waitFor('the API', () =>
    readFile(dir.join('state', 'api.json'), 'utf8').catch(() => undefined),
  )
  const { url, token } = JSON.parse(text)
  return createClientOf(nodeApi, { baseUrl: `${url}/api/v1`, token })
}

test('pairs, and tells what the administrator has to compare', async () => {
  const { code, stdout } = await pair()
  expect(code).toBe(0)
  expect(stdout).toContain(`as Node ${hub.nodeId} (awaiting-approval)`)
  expect(stdout).toMatch(/Key fingerprint: [0-9a-f]{64}/)
  for (const name of await readdir(dir.join('state'))) {
    const { mode } = await stat(dir.join('state', name))
    expect([name, mode & 0o077]).toEqual([name, 0])
  }
})

test('takes the pairing code from the environment too', async () => {
  const result = await runProgram(MAIN, ['pair', '--hub', hub.url], {
    env: { ...env, SENDENSE_PAIRING_CODE: hub.pairingCode },
  })
  expect(result.code).toBe(0)
})

test('does not replace a pairing unless it is told to', async () => {
  await pair()
  const again = await pair()
  expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('--replace') })
  const replaced = await pair(hub.pairingCode, '--replace')
  expect(replaced.stderr).toContain('(pairing-code-used)')
})

test.for([
  ['a wrong code', ['pair', '--hub', 'https://127.0.0.1:1'], 'XXXXX', 'pairing-code-invalid'],
  ['no Hub', ['pair'], '', 'request-invalid'],
  ['an unknown option', ['pair', '--code', 'secret'], '', "Unknown option '--code'"],
  ['no command', [], '', 'sendense-node run'],
] as const)('with %s it ends with words and not with a stack', async ([_what, args, stdin, words]) => {
  const { code, stderr } = await runProgram(MAIN, args, { env, stdin })
  expect(code).toBeGreaterThan(0)
  expect(stderr).toContain(words)
  expect(stderr).not.toContain('    at ')
})

test('runs unpaired, and says so', async () => {
  await using node = startProgram(MAIN, ['run'], env)
  const client = await api()
  expect(await client.health.getHealth()).toMatchObject({
    status: 'degraded',
    problems: [expect.stringContaining('not paired')],
  })
  expect(await node.stop()).toEqual({ code: 0, signal: null })
})

test('a second Node on the same state ends at once, and the first does not notice', async () => {
  await pair()
  hub.approve()
  await using node = startProgram(MAIN, ['run'], env)
  const client = await api()
  await waitFor('the tunnel', async () => (await client.node.getEnrollment()).isConnected || undefined)
  const second = await runProgram(MAIN, ['run'], { env })
  expect(second).toMatchObject({ code: 1, stderr: expect.stringContaining('Another Node uses this state') })
  const pairing = await pair(hub.pairingCode, '--replace')
  expect(pairing.stderr).toContain('Another Node uses this state')
  expect(await client.node.getEnrollment()).toMatchObject({ isConnected: true, status: 'approved' })
  expect(await client.health.getHealth()).toMatchObject({ status: 'ok', problems: [] })
  expect(await node.stop()).toEqual({ code: 0, signal: null })
})

test('a Node that was killed starts again on its state', async () => {
  await pair()
  hub.approve()
  await using first = startProgram(MAIN, ['run'], env)
  await waitFor('the tunnel', () => hub.isConnected || undefined)
  await first.kill()
  await using second = startProgram(MAIN, ['run'], env)
  await waitFor('the tunnel again', () => hub.hellos.length === 2 || undefined)
  expect(second.hasEnded).toBe(false)
})

test('a revoked Node says so, stays up for its leftovers, and remembers it', async () => {
  await pair()
  hub.status = 'revoked'
  await using node = startProgram(MAIN, ['run'], env)
  await waitFor('the word', () => node.log().includes('has revoked this Node') || undefined)
  expect(await (await api()).node.getEnrollment()).toMatchObject({ status: 'revoked' })
  expect(node.hasEnded).toBe(false)
})
