import { once } from 'node:events'
import { readFile, stat } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { request } from 'node:https'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { type Progress, RepositoryId } from '@sendense/contracts'
import { newId, pinnedAgent } from '@sendense/platform'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { buildHub } from './build-hub.ts'
import { ADMIN_PASSWORD, buildTestHub, type TestHub } from './testing/build-test-hub.ts'

let hub: TestHub
beforeAll(async () => {
  hub = await buildTestHub({ limits: { failuresPerMinute: 5, requestsPerMinute: 1000 } })
})
afterAll(() => hub[Symbol.asyncDispose]())

/** A plain request, for what the typed client hides. */
async function get(path: string, headers: Record<string, string> = {}) {
  const agent = pinnedAgent(hub.address)
  try {
    const res = await new Promise<IncomingMessage>((resolve, reject) => {
      const options = { host: '127.0.0.1', port: hub.address.port, path, agent, headers }
      request(options, resolve).once('error', reject).end()
    })
    return { status: res.statusCode ?? 0, headers: res.headers, body: await text(res) }
  } finally {
    agent.destroy()
  }
}

describe('the way in', () => {
  test('health is for everybody', async () => {
    expect(await hub.client().health.getHealth()).toMatchObject({
      status: 'ok',
      product: 'hub',
      problems: [],
    })
  })

  test('a connection outlasts the pauses between two requests', async () => {
    const { headers } = await get('/api/v1/health')
    expect(Number(/timeout=(\d+)/.exec(String(headers['keep-alive']))?.[1])).toBeGreaterThan(60)
  })

  test('the one-time password lets in to change it, and to nothing else', async () => {
    const path = join(hub.config.dataDir, 'initial-admin-password')
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    const first = (await readFile(path, 'utf8')).trim()
    const { token, account } = await hub.client().auth.login({ body: { username: 'admin', password: first } })
    expect(account).toMatchObject({ username: 'admin', mustChangePassword: true })
    const client = hub.client(token)
    await expect(client.jobs.listJobs()).rejects.toMatchObject({
      problem: { code: 'password-change-required' },
    })
    expect(await client.auth.getAccount()).toEqual(account)
    await hub.admin()
    await expect(stat(path)).rejects.toThrow('ENOENT')
    expect(JSON.stringify(hub.log.lines)).not.toContain(first)
  })

  test('a token ends with its logout', async () => {
    await hub.admin()
    const { token } = await hub.client().auth.login({ body: { username: 'Admin', password: ADMIN_PASSWORD } })
    const client = hub.client(token)
    await client.auth.logout()
    await expect(client.auth.getAccount()).rejects.toMatchObject({ problem: { code: 'unauthenticated' } })
    await (await hub.admin()).auth.getAccount()
  })

  test('a token in the URL or the body is not taken', async () => {
    const token = await hub.adminToken()
    expect((await get(`/api/v1/jobs?access_token=${token}`)).status).toBe(401)
    expect((await get('/api/v1/jobs', { authorization: `Bearer ${token}` })).status).toBe(200)
    expect((await get('/api/v1/jobs', { authorization: token })).status).toBe(401)
  })

  test('guessing is slowed down, and only that', async () => {
    const guess = () => hub.client().auth.login({ body: { username: 'nobody', password: 'guess' } })
    const codes: string[] = []
    for (let i = 0; i < 7; i++) codes.push(await guess().catch(error => error.problem.code))
    expect(codes.slice(0, 5)).toEqual(Array(5).fill('credentials-invalid'))
    expect(codes.slice(5)).toEqual(['too-many-requests', 'too-many-requests'])
    expect((await hub.client().health.getHealth()).status).toBe('ok')
  })
})

describe('repositories and jobs', () => {
  test('a repository is made, listed and measured', async () => {
    const client = await hub.admin()
    const path = join(hub.config.dataDir, 'repositories', 'main')
    const { repository, password } = await client.repositories.createRepository({
      body: { name: 'main', place: { type: 'local', path } },
    })
    expect(password).toMatch(/^[\w-]{43}$/)
    expect((await client.repositories.listRepositories({ query: { type: 'local' } })).items).toEqual([
      repository,
    ])
    const params = { repositoryId: repository.id }
    expect(await client.repositories.getRepository({ params })).toEqual(repository)
    expect(await client.repositories.getRepositoryStorage({ params })).toMatchObject({ totalBytes: 1000 })
    expect(JSON.stringify(hub.log.lines)).not.toContain(password)
  })

  test('what is not there is not found', async () => {
    const client = await hub.admin()
    const repositoryId = RepositoryId.parse(newId())
    await expect(client.repositories.getRepository({ params: { repositoryId } })).rejects.toMatchObject({
      problem: { code: 'not-found', status: 404 },
    })
  })

  test('a job is followed while it runs, and cancelled', async () => {
    const client = await hub.admin()
    const { jobs } = hub.capabilities
    const hasCleanedUp = Promise.withResolvers<void>()
    jobs.define({
      kind: 'verify',
      input: z.object({}),
      steps: [{ name: 'read', title: 'Read' }],
      timeoutMs: 60_000,
      run: ({ step, signal }) =>
        step('read', async () => {
          await once(signal, 'abort')
          await hasCleanedUp.promise
          throw signal.reason
        }),
    })
    const jobId = await jobs.start({ kind: 'verify', subject: 'db1', subjectId: newId(), input: {} })
    const params = { jobId }
    const states: string[] = []
    for await (const progress of await client.jobs.watchProgress({ params })) {
      const isNew = states.at(-1) !== progress.state
      if (isNew) states.push(progress.state)
      if (isNew && progress.state === 'running') await client.jobs.cancelJob({ params })
      if (isNew && progress.state === 'cancelling') hasCleanedUp.resolve()
    }
    expect(states.slice(-2)).toEqual(['cancelling', 'cancelled'])
    expect(await client.jobs.getProgress({ params })).toMatchObject({ state: 'cancelled', subject: 'db1' })
    const cancelled = await client.jobs.listJobs({ query: { kind: 'verify', state: 'cancelled' } })
    expect(cancelled.items.map(job => job.jobId)).toEqual([jobId])
    await expect(client.jobs.cancelJob({ params })).rejects.toMatchObject({ problem: { code: 'conflict' } })
  })

  test('a list without jobs is an empty page', async () => {
    expect(await (await hub.admin()).jobs.listJobs({ query: { state: 'running' } })).toEqual({ items: [] })
  })
})

describe('documents and headers', () => {
  test('every answer forbids what a browser could be tricked into', async () => {
    const { headers } = await get('/api/v1/health')
    expect(headers['content-security-policy']).toContain("default-src 'none'")
    expect(headers['content-security-policy']).not.toContain('unsafe')
    expect(headers['x-content-type-options']).toBe('nosniff')
    expect(headers['x-powered-by']).toBeUndefined()
    expect(headers['cache-control']).toBe('no-store')
  })

  test('the page of the documents and all that it loads are served', async () => {
    const page = await get('/api/docs')
    expect(page.headers['content-type']).toContain('text/html')
    const loaded = [...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path ?? '')
    expect(loaded).toHaveLength(4)
    for (const path of loaded) expect((await get(path)).status, path).toBe(200)
    // The policy forbids scripts and styles inside the page.
    expect(page.body).not.toMatch(/<script>|<style|style=|onload=/)
  })

  test('a problem code leads to its page, and nothing else to a file', async () => {
    const { problem } = await hub
      .client('wrong')
      .jobs.listJobs()
      .catch(error => error)
    const page = await get(problem.type)
    expect(page).toMatchObject({ status: 200, headers: { 'content-type': 'text/plain; charset=utf-8' } })
    expect(page.body.length).toBeGreaterThan(50)
    expect((await get('/problems/..%2f..%2fREADME')).status).toBe(404)
    expect((await get('/problems/nonsense')).status).toBe(404)
  })

  test('an unknown path is a problem', async () => {
    const { status, body } = await get('/api/v1/nonsense')
    expect([status, JSON.parse(body).code]).toEqual([404, 'not-found'])
  })
})

describe('the process', () => {
  test('tells local tools where it is, and only while it is there', async () => {
    await using one = await buildTestHub()
    const path = join(one.config.dataDir, 'hub.json')
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({
      url: `https://localhost:${one.address.port}`,
      certificateSha256: one.address.certificateSha256,
      pid: process.pid,
    })
  })

  test('stops at once although somebody follows a job, and says how that has ended', async () => {
    await using one = await buildTestHub()
    const client = await one.admin()
    one.capabilities.jobs.define({
      kind: 'verify',
      input: z.object({}),
      steps: [{ name: 'read', title: 'Read' }],
      timeoutMs: 60_000,
      run: async ({ signal }) => {
        await once(signal, 'abort')
        throw signal.reason
      },
    })
    const job = { kind: 'verify', subject: 'db1', subjectId: newId(), input: {} } as const
    const params = { jobId: await one.capabilities.jobs.start(job) }
    let last: Progress | undefined
    let stopping: Promise<void> | undefined
    const startedMs = performance.now()
    for await (const progress of await client.jobs.watchProgress({ params })) {
      last = progress
      if (progress.state === 'running') stopping ??= one.restart()
    }
    await stopping
    expect(last).toMatchObject({ state: 'failed', failure: { code: 'job-interrupted' } })
    expect(performance.now() - startedMs).toBeLessThan(5000)
    expect(await (await one.admin()).jobs.getProgress({ params })).toEqual(last)
  })

  test('two Hubs cannot work with one data directory', async () => {
    await using one = await buildTestHub()
    const terminal = { write: () => undefined }
    await expect(buildHub(one.config, { log: one.log, terminal })).rejects.toThrow('Another Hub is running')
    expect((await one.client().health.getHealth()).status).toBe('ok')
  })

  test('after a restart sessions, repositories and certificate are as before', async () => {
    await using one = await buildTestHub()
    const client = await one.admin()
    const path = join(one.config.dataDir, 'repositories', 'main')
    const { repository } = await client.repositories.createRepository({
      body: { name: 'main', place: { type: 'local', path } },
    })
    const { certificateSha256 } = one.address
    await one.restart()
    expect(one.address.certificateSha256).toBe(certificateSha256)
    const again = await one.admin()
    const { items } = await again.repositories.listRepositories()
    expect(items).toEqual([repository])
    await expect.poll(async () => (await one.client().health.getHealth()).status).toBe('ok')
  })
})
