import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import type { TunnelHandlers, TunnelMethods } from '@sendense/contracts'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { z } from 'zod'
import { AppError } from '../app-error.ts'
import { memoryLog } from '../testing/memory-log.ts'
import { attachTunnel, type Tunnel } from './attach-tunnel.ts'

const methods = {
  add: { params: z.object({ a: z.int(), b: z.int().default(1) }), result: z.object({ sum: z.int() }) },
  fail: { params: z.object({ how: z.enum(['on-purpose', 'by-bug', 'wrong-result']) }), result: z.object({}) },
  wait: { params: z.object({ ms: z.int() }), result: z.object({}) },
  echo: { params: z.object({ text: z.string() }), result: z.object({ text: z.string() }) },
} as const satisfies TunnelMethods
const handlers: TunnelHandlers<typeof methods> = {
  add: async ({ a, b }) => ({ sum: a + b }),
  fail: async ({ how }) => {
    if (how === 'on-purpose') throw new AppError('vcenter-busy', { detail: 'Task 7 runs' })
    if (how === 'by-bug') throw new Error('secret of the inside')
    return undefined as never
  },
  wait: async ({ ms }) => {
    await new Promise(resolve => setTimeout(resolve, ms))
    return {}
  },
  echo: async ({ text }) => ({ text }),
}

let server: WebSocketServer
let proxy: net.Server
let isFrozen: boolean
const pipes = new Set<net.Socket>()

/** A proxy that can stop forwarding without closing: what a dead link looks like. */
function forward(from: net.Socket, to: net.Socket): void {
  pipes.add(from)
  from.on('data', data => !isFrozen && to.write(data))
  from.on('close', () => {
    pipes.delete(from)
    if (!isFrozen) to.destroy()
  })
  from.on('error', () => undefined)
}

beforeEach(async () => {
  isFrozen = false
  server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false })
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  proxy = net.createServer(left => {
    const right = net.connect(port, '127.0.0.1')
    forward(left, right)
    forward(right, left)
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
})
afterEach(async () => {
  for (const pipe of pipes) pipe.destroy()
  for (const client of server.clients) client.terminate()
  await Promise.all([new Promise(r => server.close(r)), new Promise(r => proxy.close(r))])
})

const log = memoryLog()

async function pair(options: { heartbeatMs?: number; callTimeoutMs?: number } = {}) {
  const socket = new WebSocket(`ws://127.0.0.1:${(proxy.address() as AddressInfo).port}`)
  const [[hubSocket]] = (await Promise.all([once(server, 'connection'), once(socket, 'open')])) as [
    [WebSocket],
    unknown,
  ]
  const side = (one: WebSocket): Tunnel<typeof methods> =>
    attachTunnel({ socket: one, offers: methods, handlers, calls: methods, log, ...options })
  return { hub: side(hubSocket), node: side(socket), hubSocket, nodeSocket: socket }
}

test('both sides call each other, with defaults filled in', async () => {
  const { hub, node } = await pair()
  expect(await hub.call.add({ a: 1 })).toEqual({ sum: 2 })
  expect(await node.call.add({ a: 1, b: 5 })).toEqual({ sum: 6 })
})

test('an AppError arrives with its code and words', async () => {
  const { hub } = await pair()
  await expect(hub.call.fail({ how: 'on-purpose' })).rejects.toMatchObject({
    name: 'AppError',
    code: 'vcenter-busy',
    message: 'Task 7 runs',
  })
})

test('anything else arrives as internal, without its words, and is in the log over there', async () => {
  const { hub } = await pair()
  const error = await hub.call.fail({ how: 'by-bug' }).catch((caught: unknown) => caught)
  expect(error).toMatchObject({ code: 'internal' })
  expect(String(error)).not.toContain('secret')
  expect(log.lines.at(-1)?.fields).toMatchObject({
    method: 'fail',
    error: { cause: { message: 'secret of the inside' } },
  })
  await expect(hub.call.fail({ how: 'wrong-result' })).rejects.toMatchObject({ code: 'internal' })
})

test('params are checked on both sides', async () => {
  const { hub, nodeSocket, hubSocket } = await pair()
  await expect(hub.call.add({ a: 'x' as never })).rejects.toThrow()
  const answer = once(hubSocket, 'message')
  hubSocket.send(JSON.stringify({ t: 'q', i: '1', m: 'add', a: [{ a: 'x' }] }))
  expect(JSON.parse(String((await answer)[0]))).toMatchObject({
    i: '1',
    r: { error: { code: 'request-invalid' } },
  })
  expect(nodeSocket.readyState).toBe(WebSocket.OPEN)
})

test('a method that is not offered is a protocol mismatch, also if it is a name of Object', async () => {
  const { hubSocket } = await pair()
  for (const m of ['newer', 'constructor', '__proto__']) {
    const answer = once(hubSocket, 'message')
    hubSocket.send(JSON.stringify({ t: 'q', i: '1', m, a: [{}] }))
    expect(JSON.parse(String((await answer)[0])).r.error.code).toBe('protocol-mismatch')
  }
})

test('something that is no message ends the connection, not the process', async () => {
  for (const junk of ['null', '{"t":"q"}', 'not json', Buffer.from([1, 2])]) {
    const { node, hubSocket } = await pair()
    hubSocket.send(junk)
    expect(await node.closed).toMatchObject({ code: 1002 })
  }
})

test('an answer that does not fit the contract is a protocol mismatch', async () => {
  const socket = new WebSocket(`ws://127.0.0.1:${(proxy.address() as AddressInfo).port}`)
  server.once('connection', peer =>
    peer.on('message', data =>
      peer.send(JSON.stringify({ t: 's', i: JSON.parse(String(data)).i, r: { result: {} } })),
    ),
  )
  await once(socket, 'open')
  const tunnel = attachTunnel({ socket, offers: {}, handlers: {}, calls: methods, log })
  await expect(tunnel.call.add({ a: 1 })).rejects.toMatchObject({ code: 'protocol-mismatch' })
})

test('calls that wait when the link goes, and calls after it, end as unreachable', async () => {
  const { hub, hubSocket } = await pair()
  const waiting = [hub.call.wait({ ms: 60_000 }), hub.call.wait({ ms: 60_000 })].map(call =>
    call.catch((error: unknown) => error),
  )
  await new Promise(resolve => setTimeout(resolve, 20))
  hubSocket.terminate()
  const [first, second] = await Promise.all(waiting)
  expect(first).toMatchObject({ code: 'node-unreachable' })
  expect(second).not.toBe(first)
  await hub.closed
  await expect(hub.call.add({ a: 1 })).rejects.toMatchObject({ code: 'node-unreachable' })
})

test('a call without an answer in time ends as unreachable', async () => {
  const { hub } = await pair({ callTimeoutMs: 50 })
  await expect(hub.call.wait({ ms: 300 })).rejects.toMatchObject({
    code: 'node-unreachable',
    message: 'wait got no answer in 0.05 s',
  })
  expect(await hub.call.add({ a: 1 })).toEqual({ sum: 2 })
})

test('a dead link is noticed by its silence', async () => {
  const { hub, node } = await pair({ heartbeatMs: 30 })
  const waiting = hub.call.wait({ ms: 60_000 }).catch((error: unknown) => error)
  await new Promise(resolve => setTimeout(resolve, 200))
  expect(await hub.call.add({ a: 1 })).toEqual({ sum: 2 })
  isFrozen = true
  expect(await waiting).toMatchObject({ code: 'node-unreachable' })
  expect(await hub.closed).toMatchObject({ code: 1006 })
  expect(await node.closed).toMatchObject({ code: 1006 })
})

test('closing tells code and reason to the other side', async () => {
  const { hub, node } = await pair()
  hub.close(4003, 'revoked')
  expect(await node.closed).toEqual({ code: 4003, reason: 'revoked' })
})

test('much data goes through at the pace of the reader', async () => {
  const { hub } = await pair()
  const text = 'x'.repeat(1024 * 1024)
  const answers = await Promise.all(Array.from({ length: 24 }, () => hub.call.echo({ text })))
  expect(answers.every(answer => answer.text.length === text.length)).toBe(true)
})

test('a reader that does not read cannot fill the memory', async () => {
  const { hub } = await pair({ callTimeoutMs: 1000 })
  isFrozen = true
  for (const pipe of pipes) pipe.pause()
  const text = 'x'.repeat(8 * 1024 * 1024)
  const calls = Array.from({ length: 20 }, () => hub.call.echo({ text }).catch((error: unknown) => error))
  expect(await Promise.race(calls.slice(-1))).toMatchObject({
    message: expect.stringContaining('more slowly'),
  })
  for (const pipe of pipes) pipe.destroy()
  await Promise.all(calls)
})

test('more calls at once than one side serves are refused', async () => {
  const { hub } = await pair()
  const answers = await Promise.allSettled(Array.from({ length: 300 }, () => hub.call.wait({ ms: 100 })))
  expect(answers.filter(answer => answer.status === 'fulfilled')).toHaveLength(256)
  expect(answers.at(-1)).toMatchObject({ reason: { code: 'too-many-requests' } })
})
