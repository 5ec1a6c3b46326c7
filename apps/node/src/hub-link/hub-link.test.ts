import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { NodeMethods, NodeStatus, TunnelHandlers } from '@sendense/contracts'
import { AppError, pinnedAgent, systemClock } from '@sendense/platform'
import { memoryLog } from '@sendense/platform/testing'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { AccessTokens } from '../enrollment/access-tokens.ts'
import { hubApiAt } from '../enrollment/hub-api.ts'
import { type HubPairing, loadPairing, savePairing } from '../enrollment/hub-pairing.ts'
import { loadOrMakeIdentity, type NodeIdentity } from '../enrollment/node-identity.ts'
import { pairWithHub } from '../enrollment/pair-with-hub.ts'
import { FakeHub, type FakeHubOptions } from '../testing/fake-hub.ts'
import { LinkedHubCalls } from './hub-calls.ts'
import { HubLink } from './hub-link.ts'

let folder: string
let identity: NodeIdentity
let cleanUp: AsyncDisposableStack

beforeEach(async () => {
  cleanUp = new AsyncDisposableStack()
  folder = await mkdtemp(join(tmpdir(), 'sendense-link-'))
  cleanUp.defer(() => rm(folder, { recursive: true }))
  identity = await loadOrMakeIdentity(join(folder, 'identity.json'))
})
afterEach(() => cleanUp.disposeAsync())

async function aHub(options?: FakeHubOptions): Promise<FakeHub> {
  return cleanUp.use(await FakeHub.start(options))
}

function pair(hub: FakeHub, over: Partial<Parameters<typeof pairWithHub>[0]> = {}): Promise<HubPairing> {
  return pairWithHub({ hubUrl: hub.url, pairingCode: hub.pairingCode, name: 'site-a', identity, ...over })
}

interface Linked {
  link: HubLink
  statuses: NodeStatus[]
  expelled: AppError[]
  log: ReturnType<typeof memoryLog>
}

const notCalled = async () => {
  throw new AppError('internal')
}

async function aLink(
  pairing: HubPairing,
  handlers: Partial<TunnelHandlers<NodeMethods>> = {},
): Promise<Linked> {
  const agent = pinnedAgent({ caPem: pairing.certificatePem })
  const clock = systemClock
  const log = memoryLog()
  const tokens = new AccessTokens({ hub: hubApiAt(pairing.hubUrl, agent), pairing, identity, clock })
  const link = new HubLink({ hubUrl: pairing.hubUrl, agent, tokens, status: pairing.status, clock, log })
  const linked: Linked = { link, statuses: [], expelled: [], log }
  link.start({
    handlers: {
      testVcenter: notCalled,
      discoverVms: notCalled,
      startCapture: notCalled,
      cancelCapture: notCalled,
      getCapture: notCalled,
      ...handlers,
    },
    captureStates: () => [],
    onStatus: status => void linked.statuses.push(status),
    onExpelled: error => void linked.expelled.push(error),
  })
  cleanUp.defer(() => link.stop())
  return linked
}

const untilConnected = (link: HubLink) => vi.waitFor(() => expect(link.isConnected).toBe(true), 10_000)

test('the identity is made once, for the Node’s user only, and a damaged one is not replaced', async () => {
  const path = join(folder, 'identity.json')
  expect(await loadOrMakeIdentity(path)).toEqual(identity)
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  await writeFile(path, '{"signing":')
  await expect(loadOrMakeIdentity(path)).rejects.toThrow('identity.json is damaged')
  expect(await readFile(path, 'utf8')).toBe('{"signing":')
})

test('pairing proves the key and pins the certificate', async () => {
  const hub = await aHub()
  const pairing = await pair(hub)
  expect(pairing).toEqual({
    ...{ hubUrl: hub.url, nodeId: hub.nodeId, status: 'awaiting-approval' },
    ...{ certificatePem: expect.any(String), certificateSha256: hub.certificateSha256 },
  })
  expect(hub.keys).toMatchObject({
    signingKey: identity.signing.publicKey,
    sealingKey: identity.sealing.publicKey,
  })
  await savePairing(join(folder, 'hub.json'), pairing)
  expect(await loadPairing(join(folder, 'hub.json'))).toEqual(pairing)
})

test('a Hub that shows another certificate than the pairing code says is sent nothing at all', async () => {
  const [hub, other] = [await aHub(), await aHub()]
  await expect(pair(hub, { hubUrl: other.url })).rejects.toMatchObject({ code: 'hub-certificate-mismatch' })
  expect(other.requests).toEqual([])
})

test.for<[string, (hub: FakeHub) => Promise<unknown>, string]>([
  [
    'a mistyped code',
    hub => pair(hub, { pairingCode: hub.pairingCode.slice(0, -1) }),
    'pairing-code-invalid',
  ],
  ['a used code', hub => pair(hub).then(() => pair(hub)), 'pairing-code-used'],
  ['plain HTTP', hub => pair(hub, { hubUrl: hub.url.replace('https', 'http') }), 'request-invalid'],
  ['no Hub', hub => hub[Symbol.asyncDispose]().then(() => pair(hub)), 'node-unreachable'],
])('pairing with %s fails and says so', async ([_what, attempt, code]) => {
  await expect(attempt(await aHub())).rejects.toMatchObject({ code })
})

test('the Node waits for its approval, then says hello', async () => {
  const hub = await aHub()
  const { link, statuses, log } = await aLink(await pair(hub))
  await vi.waitFor(() =>
    expect(hub.requests.filter(path => path.endsWith('/tokens')).length).toBeGreaterThan(2),
  )
  expect(link.status).toBe('awaiting-approval')
  hub.approve()
  await untilConnected(link)
  expect(statuses).toEqual(['approved'])
  expect(hub.hellos).toMatchObject([{ tunnelVersion: 1, captures: [] }])
  expect(log.lines.filter(line => line.message.includes('approves'))).toHaveLength(1)
})

test('both sides call each other', async () => {
  const hub = await aHub()
  const pairing = await pair(hub)
  hub.approve()
  const cancelled: string[] = []
  const { link } = await aLink(pairing, {
    cancelCapture: async ({ jobId }) => {
      cancelled.push(jobId)
      return {}
    },
  })
  await untilConnected(link)
  await hub.node.cancelCapture({ jobId: hub.nodeId as never })
  expect(cancelled).toEqual([hub.nodeId])
})

test('a link that breaks comes back, and questions that were open are asked again', async () => {
  const times: string[] = []
  const hub = await aHub({
    handlers: {
      finishCapture: async ({ jobId }) => {
        times.push(jobId)
        // The first answer never arrives.
        if (times.length === 1) hub.cutConnections()
        return {}
      },
    },
  })
  const pairing = await pair(hub)
  hub.approve()
  const { link } = await aLink(pairing)
  await untilConnected(link)
  const calls = new LinkedHubCalls({ link, clock: systemClock })
  const outcome = { jobId: hub.nodeId as never, state: 'succeeded' as const, failure: null, leftovers: [] }
  await calls.ask(h => h.finishCapture(outcome), new AbortController().signal)
  expect(times).toHaveLength(2)
  expect(hub.hellos).toHaveLength(2)
})

test('what is told while the link is down is lost, what is asked waits', async () => {
  const hub = await aHub()
  const pairing = await pair(hub)
  const { link } = await aLink(pairing)
  const calls = new LinkedHubCalls({ link, clock: systemClock })
  const params = { jobId: hub.nodeId as never, disks: [] }
  expect(await calls.tell(h => h.reportProgress(params))).toBe(false)
  const asked = calls.ask(h => h.reportProgress(params), new AbortController().signal)
  hub.approve()
  await asked
  expect(await calls.tell(h => h.reportProgress(params))).toBe(true)
  const abort = new AbortController()
  abort.abort(new Error('enough'))
  await expect(calls.ask(h => h.reportProgress(params), abort.signal)).rejects.toThrow('enough')
})

test('a token that the Hub no longer accepts is replaced by a new one', async () => {
  const hub = await aHub()
  const pairing = await pair(hub)
  hub.approve()
  const { link } = await aLink(pairing)
  await untilConnected(link)
  hub.forgetTokens()
  hub.cutConnections()
  await vi.waitFor(() => expect(hub.hellos).toHaveLength(2), 10_000)
})

test('a token that is about to end is renewed before it is used', async () => {
  const hub = await aHub({ tokenLifetimeMs: 30_000 })
  const pairing = await pair(hub)
  hub.approve()
  const agent = pinnedAgent({ caPem: pairing.certificatePem })
  const tokens = new AccessTokens({ hub: hubApiAt(hub.url, agent), pairing, identity, clock: systemClock })
  const { signal } = new AbortController()
  expect(await tokens.get(signal)).not.toBe(await tokens.get(signal))
  agent.destroy()
})

test.for<[NodeStatus, string]>([
  ['rejected', 'Nobody knows it'],
  ['revoked', 'The machine was sold'],
])('a Node that was %s is told why, and does not ask again', async ([status, why]) => {
  const hub = await aHub()
  const pairing = await pair(hub)
  hub.status = status
  const { link, expelled, log } = await aLink(pairing)
  await vi.waitFor(() => expect(expelled).toHaveLength(1))
  expect(expelled[0]).toMatchObject({ code: `node-${status}`, message: why })
  expect(link.status).toBe(status)
  expect(log.lines.at(-1)).toMatchObject({ level: 'error', message: expect.stringContaining('pair it anew') })
  const asked = hub.requests.length
  await new Promise(resolve => setTimeout(resolve, 600))
  expect(hub.requests).toHaveLength(asked)
})

test('a revocation cuts a link that is up', async () => {
  const hub = await aHub()
  const pairing = await pair(hub)
  hub.approve()
  const { link, expelled } = await aLink(pairing)
  await untilConnected(link)
  hub.revoke()
  await vi.waitFor(() => expect(expelled).toHaveLength(1), 10_000)
  expect(link.isConnected).toBe(false)
})

test('somebody who has taken the place of the Hub gets no token and no tunnel', async () => {
  const [hub, impostor] = [await aHub(), await aHub()]
  const pairing = await pair(hub)
  const { link, log } = await aLink({ ...pairing, hubUrl: impostor.url })
  await vi.waitFor(() => expect(log.lines.length).toBeGreaterThan(0))
  expect(log.lines[0]?.fields.error).toMatchObject({ code: 'hub-certificate-mismatch' })
  expect(impostor.requests).toEqual([])
  expect(link.isConnected).toBe(false)
})

test('the tunnel insists on the certificate too, not only the requests before it', async () => {
  const [hub, impostor] = [await aHub(), await aHub()]
  const pairing = await pair(hub)
  const agent = pinnedAgent({ caPem: pairing.certificatePem })
  const { openHubSocket } = await import('./open-hub-socket.ts')
  const { signal } = new AbortController()
  const opening = openHubSocket({ hubUrl: impostor.url, token: 'secret', agent, signal })
  await expect(opening).rejects.toMatchObject({ code: 'hub-certificate-mismatch' })
  expect(impostor.requests).toEqual([])
})

test('a stop closes the link at once, also while it waits', async () => {
  const hub = await aHub()
  const pairing = await pair(hub)
  const waiting = await aLink(pairing)
  await waiting.link.stop()
  hub.approve()
  const { link } = await aLink(pairing)
  await untilConnected(link)
  const before = performance.now()
  await link.stop()
  expect(performance.now() - before).toBeLessThan(3000)
  await vi.waitFor(() => expect(hub.isConnected).toBe(false))
})
