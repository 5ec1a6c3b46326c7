import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { defineRoutes } from '@sendense/contracts'
import express from 'express'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { z } from 'zod'
import { AppError } from '../app-error.ts'
import { memoryLog } from '../testing/memory-log.ts'
import { bindRoutes } from './bind-routes.ts'
import { principalOf } from './principal.ts'
import { notFoundHandler, problemHandler } from './problem-handler.ts'

const routes = defineRoutes({
  getThing: {
    method: 'get',
    path: '/things/:thingId',
    summary: 'Get a thing',
    permission: 'inventory:read',
    params: z.object({ thingId: z.uuid() }),
    query: z.object({ limit: z.coerce.number().int().max(5).default(3) }),
    response: z.object({ id: z.string(), limit: z.int() }),
  },
  makeThing: {
    method: 'post',
    path: '/things',
    summary: 'Make a thing',
    permission: 'inventory:write',
    status: 201,
    body: z.object({ name: z.string().min(2) }),
    response: z.object({ name: z.string() }),
  },
  ping: { method: 'post', path: '/ping', summary: 'Ping', permission: 'public' },
  fail: { method: 'post', path: '/fail', summary: 'Fail', permission: 'public' },
  watch: {
    method: 'get',
    path: '/watch/:kind',
    summary: 'Watch',
    permission: 'public',
    params: z.object({ kind: z.string() }),
    events: z.object({ n: z.int() }),
  },
})
const thingId = '0b84c7fd-5278-4087-832d-0b502c7929b3'
const log = memoryLog()
let server: Server
let base: string
let streamEnds: string[]

async function* events(kind: string, signal: AbortSignal): AsyncGenerator<{ n: number }> {
  try {
    if (kind === 'missing') throw new AppError('not-found')
    yield { n: 1 }
    if (kind === 'breaks') throw new AppError('node-lost')
    while (kind === 'endless' && !signal.aborted) {
      await new Promise(resolve => {
        signal.addEventListener('abort', resolve, { once: true })
      })
    }
    yield { n: 2 }
  } finally {
    streamEnds.push(kind)
  }
}

beforeAll(async () => {
  const app = express()
  app.use(express.json({ limit: 100 }))
  bindRoutes(
    app,
    routes,
    {
      getThing: ({ params, query }) => ({
        id: params.thingId,
        limit: query.limit,
        password: 'not in contract',
      }),
      makeThing: async ({ body }, { principal }) => ({ name: `${body.name} of ${principal.name}` }),
      ping: () => undefined,
      fail: () => {
        throw new Error('secret of the inside')
      },
      watch: ({ params }, { signal }) => events(params.kind, signal),
    },
    {
      authenticate: async req => {
        const role = req.headers.authorization?.replace('Bearer ', '')
        if (role === 'fresh')
          return { ...principalOf({ id: '1', name: 'a', role: 'node' }), refusal: 'password-change-required' }
        if (role !== 'viewer' && role !== 'administrator') throw new AppError('unauthenticated')
        return principalOf({ id: '1', name: 'ada', role })
      },
    },
  )
  app.use(notFoundHandler)
  app.use(problemHandler(log))
  server = app.listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
beforeEach(() => {
  streamEnds = []
})
afterAll(() => void server.close())

async function call(method: string, path: string, { role, body }: { role?: string; body?: string } = {}) {
  const response = await fetch(base + path, {
    method,
    headers: { ...(role && { authorization: `Bearer ${role}` }), 'content-type': 'application/json' },
    ...(body !== undefined && { body }),
  })
  const text = await response.text()
  return { status: response.status, headers: response.headers, body: text && JSON.parse(text) }
}

test('input arrives parsed, and only what the contract names leaves', async () => {
  const answer = await call('GET', `/things/${thingId}?limit=5`, { role: 'viewer' })
  expect(answer).toMatchObject({ status: 200, body: { id: thingId, limit: 5 } })
  expect(answer.body).not.toHaveProperty('password')
  expect(answer.headers.get('x-request-id')).toMatch(/^[\w-]{36}$/)
})

test('the status of the route is answered, and 204 where there is no body', async () => {
  const made = await call('POST', '/things', { role: 'administrator', body: '{"name":"box"}' })
  expect(made).toMatchObject({ status: 201, body: { name: 'box of ada' } })
  expect(await call('POST', '/ping')).toMatchObject({ status: 204, body: '' })
})

test('no token is 401, a role without the permission 403, both before the input is looked at', async () => {
  const anonymous = await call('POST', '/things', { body: '{"name":1}' })
  expect(anonymous).toMatchObject({ status: 401, body: { code: 'unauthenticated' } })
  expect(anonymous.headers.get('www-authenticate')).toBe('Bearer')
  expect(await call('POST', '/things', { role: 'viewer', body: '{}' })).toMatchObject({
    status: 403,
    body: { code: 'forbidden', detail: 'This needs the permission inventory:write' },
  })
})

test('a principal may say why it is refused', async () => {
  expect(await call('GET', `/things/${thingId}`, { role: 'fresh' })).toMatchObject({
    status: 403,
    body: { code: 'password-change-required' },
  })
})

test('all mistakes of a request are told at once, by pointer', async () => {
  const answer = await call('GET', '/things/7?limit=9', { role: 'viewer' })
  expect(answer.status).toBe(400)
  expect(answer.headers.get('content-type')).toContain('application/problem+json')
  expect(answer.body).toMatchObject({
    code: 'request-invalid',
    errors: [{ pointer: '/params/thingId' }, { pointer: '/query/limit' }],
  })
})

test.each([
  ['{"name":', 400, 'request-invalid'],
  [`{"name":"${'x'.repeat(200)}"}`, 413, 'payload-too-large'],
  ['', 400, 'request-invalid'],
])('the body %j is refused', async (body, status, code) => {
  expect(await call('POST', '/things', { role: 'administrator', body })).toMatchObject({
    status,
    body: { code },
  })
})

test('an unexpected error is 500 without its words, which are in the log under the id of the request', async () => {
  const answer = await call('POST', '/fail')
  expect(answer).toMatchObject({ status: 500, body: { code: 'internal' } })
  expect(JSON.stringify(answer.body)).not.toContain('secret')
  const line = log.lines.findLast(({ level }) => level === 'error')
  expect(line?.fields.error).toMatchObject({ cause: { message: 'secret of the inside' } })
  expect(answer.body.instance).toBe(`urn:uuid:${line?.fields.requestId}`)
})

test('an unknown path is a problem too', async () => {
  expect(await call('GET', '/nothing')).toMatchObject({ status: 404, body: { code: 'not-found' } })
})

test('events are numbered, and the stream says that it ended', async () => {
  const response = await fetch(`${base}/watch/two`)
  expect(response.headers.get('content-type')).toBe('text/event-stream')
  expect(await response.text()).toBe(
    'id: 1\ndata: {"n":1}\n\nid: 2\ndata: {"n":2}\n\nevent: end\ndata: {}\n\n',
  )
  expect(streamEnds).toEqual(['two'])
})

test('what fails before the first event is an ordinary problem, later one is an event', async () => {
  expect(await call('GET', '/watch/missing')).toMatchObject({ status: 404, body: { code: 'not-found' } })
  const text = await (await fetch(`${base}/watch/breaks`)).text()
  expect(text).toMatch(/^id: 1\ndata: \{"n":1\}\n\nevent: problem\ndata: \{.*"code":"node-lost".*\}\n\n$/)
})

test('a caller who hangs up ends the source', async () => {
  const hangUp = new AbortController()
  const response = await fetch(`${base}/watch/endless`, { signal: hangUp.signal })
  const reader = response.body?.getReader()
  await reader?.read()
  expect(streamEnds).toEqual([])
  hangUp.abort()
  await expect.poll(() => streamEnds).toEqual(['endless'])
})
