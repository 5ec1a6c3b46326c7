import { createServer, request, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { generate } from 'selfsigned'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { pinnedAgent } from './pinned-agent.ts'
import { readTlsFingerprint } from './read-tls-fingerprint.ts'

let server: Server
let port: number
let requestCount = 0

beforeAll(async () => {
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'another-name' }], {
    keyType: 'ec',
    curve: 'P-256',
  })
  server = createServer({ cert, key }, (_req, res) => {
    requestCount++
    res.end('hello')
  })
  server.listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  port = (server.address() as AddressInfo).port
})
afterAll(() => void server.close())

async function get(agent: ReturnType<typeof pinnedAgent>): Promise<string> {
  try {
    return await new Promise((resolve, reject) => {
      request({ host: '127.0.0.1', port, agent, headers: { authorization: 'Bearer secret' } }, res =>
        resolve(text(res)),
      )
        .once('error', reject)
        .end()
    })
  } finally {
    agent.destroy()
  }
}

test('reads the certificate of a server that nobody trusts', async () => {
  const shown = await readTlsFingerprint('127.0.0.1', port)
  expect(shown.sha256).toMatch(/^[0-9a-f]{64}$/)
  expect(shown.pem).toContain('BEGIN CERTIFICATE')
})

test('trusts the pinned certificate by its PEM and by its fingerprint', async () => {
  const { pem, sha256 } = await readTlsFingerprint('127.0.0.1', port)
  expect(await get(pinnedAgent({ caPem: pem }))).toBe('hello')
  expect(await get(pinnedAgent({ certificateSha256: sha256 }))).toBe('hello')
  const colons = sha256.toUpperCase().replaceAll(/(..)(?=.)/g, '$1:')
  expect(await get(pinnedAgent({ certificateSha256: colons }))).toBe('hello')
})

test('another certificate gets no request at all', async () => {
  const before = requestCount
  await expect(get(pinnedAgent({ certificateSha256: '00'.repeat(32) }))).rejects.toMatchObject({
    code: 'hub-certificate-mismatch',
  })
  expect(requestCount).toBe(before)
})

test('a port where nobody listens is an error', async () => {
  const closed = createServer().listen(0, '127.0.0.1')
  await new Promise(resolve => closed.once('listening', resolve))
  const closedPort = (closed.address() as AddressInfo).port
  await new Promise(resolve => closed.close(resolve))
  await expect(readTlsFingerprint('127.0.0.1', closedPort)).rejects.toThrow('ECONNREFUSED')
})
