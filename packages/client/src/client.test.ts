import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { defineRoutes, type JobId } from '@sendense/contracts'
import { AppError, bindRoutes, notFoundHandler, principalOf, problemHandler } from '@sendense/platform'
import { memoryLog } from '@sendense/platform/testing'
import express from 'express'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { axiosTransport, type Client, type ClientOf, createClientOf, fetchTransport } from './index.ts'

const routes = defineRoutes({
  getThing: {
    method: 'get',
    path: '/things/:name',
    summary: 'Get',
    permission: 'inventory:read',
    params: z.object({ name: z.string() }),
    query: z.object({ search: z.string().optional() }),
    response: z.object({ name: z.string(), search: z.string().optional() }),
  },
  dropThing: {
    method: 'delete',
    path: '/things/:name',
    summary: 'Drop',
    permission: 'inventory:read',
    params: z.object({ name: z.string() }),
  },
  count: {
    method: 'get',
    path: '/count/:kind',
    summary: 'Count',
    permission: 'public',
    params: z.object({ kind: z.string() }),
    events: z.object({ n: z.int() }),
  },
})
const api = { things: routes }
let server: Server
let baseUrl: string
let connections: (string | undefined)[]
let endedStreams: number

async function* count(kind: string, hangUp: AbortSignal): AsyncGenerator<{ n: number }> {
  try {
    yield { n: connections.length }
    if (kind === 'fails') throw new AppError('job-timed-out', { detail: 'too slow' })
    if (kind === 'endless')
      await new Promise(resolve => hangUp.addEventListener('abort', resolve, { once: true }))
    yield { n: 100 }
  } finally {
    endedStreams++
  }
}

beforeAll(async () => {
  const app = express()
  app.get('/api/v1/count/breaks', (req, res, next) => {
    connections.push(req.get('last-event-id'))
    if (connections.length > 2) return next()
    res.writeHead(200, { 'content-type': 'text/event-stream' })
    res.write(`id: ${connections.length}\ndata: {"n":${connections.length}}\n\n`)
    setTimeout(() => res.destroy(), 20)
  })
  app.get('/api/v1/things/html', (_req, res) => void res.status(502).send('<h1>Bad gateway</h1>'))
  app.get('/api/v1/things/newer', (_req, res) => void res.json({ title: 'not in this contract' }))
  const router = express.Router()
  bindRoutes(
    router,
    routes,
    {
      getThing: ({ params, query }) => ({ name: params.name, ...(query.search && { search: query.search }) }),
      dropThing: ({ params }) => {
        throw new AppError('conflict', { detail: `${params.name} is in use` })
      },
      count: ({ params }, { signal }) => count(params.kind, signal),
    },
    {
      authenticate: async req => {
        if (req.get('authorization') !== 'Bearer t0ken') throw new AppError('unauthenticated')
        return principalOf({ id: '1', name: 'ada', role: 'administrator' })
      },
    },
  )
  app.use('/api/v1', router, notFoundHandler, problemHandler(memoryLog()))
  server = app.listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/v1`
})
beforeEach(() => {
  connections = []
  endedStreams = 0
})
afterAll(() => void server.close())

async function collect<T>(events: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const event of events) all.push(event)
  return all
}

describe.each([
  ['axios', axiosTransport],
  ['fetch', () => fetchTransport()],
] as const)('over %s', (_name, makeTransport) => {
  const clientWith = (token: string): ClientOf<typeof api> =>
    createClientOf(api, { baseUrl, token: () => token, transport: makeTransport() })
  const things = () => clientWith('t0ken').things

  test('params and query travel whatever characters they have', async () => {
    expect(await things().getThing({ params: { name: 'a/b ü?' }, query: { search: 'x&y=ß' } })).toEqual({
      name: 'a/b ü?',
      search: 'x&y=ß',
    })
    expect(await things().getThing({ params: { name: 'plain' } })).toEqual({ name: 'plain' })
  })

  test('a problem arrives as such', async () => {
    await expect(things().dropThing({ params: { name: 'vm7' } })).rejects.toMatchObject({
      name: 'ApiProblem',
      message: 'vm7 is in use',
      problem: { code: 'conflict', status: 409 },
    })
    await expect(clientWith('wrong').things.getThing({ params: { name: 'a' } })).rejects.toMatchObject({
      problem: { code: 'unauthenticated' },
    })
  })

  test('an answer that is no problem document still becomes a problem', async () => {
    await expect(things().getThing({ params: { name: 'html' } })).rejects.toMatchObject({
      problem: { status: 502, title: 'Bad Gateway', code: 'internal' },
    })
  })

  test('an answer that does not fit the contract is an error', async () => {
    await expect(things().getThing({ params: { name: 'newer' } })).rejects.toThrow(
      'not what this version understands',
    )
  })

  test('a server that is away is a ConnectionError without the request in it', async () => {
    const { things } = createClientOf(api, {
      baseUrl: 'http://127.0.0.1:1/api/v1',
      token: 'very-secret',
      transport: makeTransport(),
    })
    const error = await things.getThing({ params: { name: 'a' } }).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ name: 'ConnectionError' })
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('very-secret')
    expect((error as Error).cause).toBeUndefined()
  })

  test('events come one by one, and the loop ends where the server ends', async () => {
    expect(await collect(await things().count({ params: { kind: 'two' } }))).toEqual([{ n: 0 }, { n: 100 }])
  })

  test('a stream that cannot be opened rejects at once', async () => {
    const { things } = createClientOf(
      { things: { ...routes, count: { ...routes.count, path: '/nowhere' } } },
      {
        baseUrl,
        transport: makeTransport(),
      },
    )
    await expect(things.count({ params: { kind: 'a' } })).rejects.toMatchObject({
      problem: { code: 'not-found' },
    })
  })

  test('a problem in the middle of a stream is thrown', async () => {
    await expect(collect(await things().count({ params: { kind: 'fails' } }))).rejects.toMatchObject({
      problem: { code: 'job-timed-out', detail: 'too slow' },
    })
  })

  test('a stream that breaks off is taken up again with the last event id', async () => {
    const all = await collect(await things().count({ params: { kind: 'breaks' } }))
    expect(all).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }, { n: 100 }])
    expect(connections).toEqual([undefined, '1', '2'])
  })

  test('leaving the loop closes the connection', async () => {
    for await (const _event of await things().count({ params: { kind: 'endless' } })) break
    await expect.poll(() => endedStreams).toBe(1)
  })

  test('aborting ends the loop with the reason of the signal', async () => {
    const stop = new AbortController()
    const events = await things().count({ params: { kind: 'endless' } }, { signal: stop.signal })
    setTimeout(() => stop.abort(new Error('enough')), 50)
    await expect(collect(events)).rejects.toThrow('enough')
    await expect.poll(() => endedStreams).toBe(1)
  })
})

test('wrong arguments do not compile', () => {
  const calls = (client: Client) => [
    // @ts-expect-error params are required
    () => client.jobs.getProgress(),
    // @ts-expect-error a plain string is no id of a job
    () => client.jobs.getProgress({ params: { jobId: 7 } }),
    () => client.jobs.getProgress({ params: { jobId: 'x' as JobId } }),
    () => client.repositories.listRepositories(),
  ]
  expect(calls({} as Client)).toHaveLength(4)
})
