import { challengeMessage, type NodeId } from '@sendense/contracts'
import {
  generateSealingKeys,
  generateSigningKeys,
  parsePairingCode,
  principalOf,
  sign,
} from '@sendense/platform'
import { FakeClock, memoryLog } from '@sendense/platform/testing'
import { beforeEach, expect, test } from 'vitest'
import { EnrollmentService } from './enrollment.service.ts'
import { EnrollmentMemoryStore } from './enrollment.store.memory.ts'

const HUB = 'ab'.repeat(32)
const admin = principalOf({ id: 'u1', name: 'admin', role: 'administrator' })
const signing = generateSigningKeys()

let clock: FakeClock
let log: ReturnType<typeof memoryLog>
let revoked: string[]
let disconnected: string[]
let rates: (number | null)[]
let enrollment: EnrollmentService
beforeEach(() => {
  clock = new FakeClock()
  log = memoryLog()
  revoked = []
  disconnected = []
  rates = []
  enrollment = new EnrollmentService({
    store: new EnrollmentMemoryStore(),
    clock,
    log,
    certificateSha256: HUB,
    tokens: {
      issue: async ({ lifetimeMs }) => ({ token: 'node-token', expiresAt: new Date(lifetimeMs) }),
      revokeAll: async subject => void revoked.push(subject),
    },
    tunnels: { isConnected: () => false, disconnect: nodeId => void disconnected.push(nodeId) },
    createRateLimit: async rate => {
      rates.push(rate)
      return { setRate: async changed => void rates.push(changed) }
    },
  })
})

test('a Node enrolls, proves its key, is approved and gets a token', async () => {
  const { nodeId } = await enrolled()
  expect(await enrollment.approve(admin, nodeId)).toMatchObject({ status: 'approved', decidedBy: 'admin' })
  expect(await enrollment.createToken(await signed(nodeId, 'token'))).toMatchObject({ token: 'node-token' })
})

test('all captures of a Node share one limit, which changes while they run', async () => {
  const { nodeId } = await enrolled()
  await enrollment.update(admin, nodeId, { bytesPerSecondMax: 1_000_000 })
  expect(rates).toEqual([])
  const [first, second] = await Promise.all([enrollment.rateLimitOf(nodeId), enrollment.rateLimitOf(nodeId)])
  expect(first).toBe(second)
  expect(rates.every(rate => rate === 1_000_000)).toBe(true)
  expect(await enrollment.update(admin, nodeId, { bytesPerSecondMax: null })).toMatchObject({
    bytesPerSecondMax: null,
  })
  expect(rates.at(-1)).toBeNull()
  await enrollment.reject(admin, nodeId, 'not ours')
  await expect(enrollment.update(admin, nodeId, { bytesPerSecondMax: 65_536 })).rejects.toMatchObject({
    code: 'conflict',
  })
})

test('the pairing code carries the fingerprint of the Hub and is kept as a hash only', async () => {
  const { pairingCode } = await enrollment.createPairingCode(admin, 600)
  const { certificateSha256Prefix, secret } = parsePairingCode(pairingCode)
  expect(HUB.startsWith(certificateSha256Prefix)).toBe(true)
  expect(JSON.stringify(log.lines)).not.toContain(secret)
  expect(JSON.stringify(log.lines)).not.toContain(pairingCode)
})

test('a pairing code works once, and not after its time', async () => {
  const code = await enrollment.createPairingCode(admin, 600)
  await enroll(code.pairingCode)
  await expect(enroll(code.pairingCode)).rejects.toMatchObject({ code: 'pairing-code-used' })
  const late = await enrollment.createPairingCode(admin, 600)
  await clock.advance(600_000)
  await expect(enroll(late.pairingCode)).rejects.toMatchObject({ code: 'pairing-code-expired' })
})

test('a pairing code that was never given out is not known', async () => {
  const attempt = enrollment.enroll({ ...aRequest(), pairingSecret: 'never-given-out' }, '192.0.2.1')
  await expect(attempt).rejects.toMatchObject({ code: 'pairing-code-invalid' })
})

test.each([
  ['another key', { key: generateSigningKeys().privateKey }],
  ['another purpose', { purpose: 'token' as const }],
  ['the certificate of another Hub', { hub: 'cd'.repeat(32) }],
])('a signature with %s proves nothing', async (_name, wrong) => {
  const { nodeId, challenge } = await enroll((await enrollment.createPairingCode(admin, 600)).pairingCode)
  const request = {
    nodeId,
    challenge,
    signature: signatureOf(nodeId, challenge, { purpose: 'enrollment', ...wrong }),
  }
  await expect(enrollment.verify(request)).rejects.toMatchObject({ code: 'signature-invalid' })
  expect(await enrollment.get(nodeId)).toMatchObject({ status: 'pending-verification' })
})

test('a challenge works once, for a minute, for the Node that asked', async () => {
  const { nodeId } = await enrolled()
  await enrollment.approve(admin, nodeId)
  const once = await signed(nodeId, 'token')
  await enrollment.createToken(once)
  await expect(enrollment.createToken(once)).rejects.toMatchObject({ code: 'signature-invalid' })
  const late = await signed(nodeId, 'token')
  await clock.advance(60_001)
  await expect(enrollment.createToken(late)).rejects.toMatchObject({ code: 'signature-invalid' })
  const { nodeId: other } = await enrolled()
  const { challenge } = await enrollment.createChallenge(other)
  const stolen = { nodeId, challenge, signature: signatureOf(nodeId, challenge, { purpose: 'token' }) }
  await expect(enrollment.createToken(stolen)).rejects.toMatchObject({ code: 'signature-invalid' })
})

test('there is no token before the approval, and none after a rejection', async () => {
  const { nodeId } = await enrolled()
  await expect(enrollment.createToken(await signed(nodeId, 'token'))).rejects.toMatchObject({
    code: 'node-not-approved',
  })
  await enrollment.reject(admin, nodeId, 'not ours')
  await expect(enrollment.createToken(await signed(nodeId, 'token'))).rejects.toMatchObject({
    code: 'node-rejected',
    message: expect.stringContaining('not ours'),
  })
})

test('a Node that did not prove its key cannot be approved', async () => {
  const { nodeId } = await enroll((await enrollment.createPairingCode(admin, 600)).pairingCode)
  await expect(enrollment.approve(admin, nodeId)).rejects.toMatchObject({ code: 'conflict' })
})

test('revoking ends the tokens and the tunnel', async () => {
  const { nodeId } = await enrolled()
  await enrollment.approve(admin, nodeId)
  expect(await enrollment.revoke(admin, nodeId, 'stolen')).toMatchObject({
    status: 'revoked',
    isConnected: false,
  })
  expect([revoked, disconnected]).toEqual([[nodeId], [nodeId]])
  await expect(enrollment.createToken(await signed(nodeId, 'token'))).rejects.toMatchObject({
    code: 'node-revoked',
  })
  await expect(enrollment.sealingKeyOf(nodeId)).rejects.toMatchObject({ code: 'conflict' })
})

async function enrolled() {
  const { nodeId, challenge } = await enroll((await enrollment.createPairingCode(admin, 600)).pairingCode)
  const signature = signatureOf(nodeId, challenge, { purpose: 'enrollment' })
  expect(await enrollment.verify({ nodeId, challenge, signature })).toEqual({ status: 'awaiting-approval' })
  return { nodeId }
}

function enroll(pairingCode: string) {
  const { secret } = parsePairingCode(pairingCode)
  return enrollment.enroll({ ...aRequest(), pairingSecret: secret }, '192.0.2.1')
}

function aRequest() {
  return {
    pairingSecret: '',
    name: 'site-a',
    version: '0.1.0',
    signingKey: signing.publicKey,
    sealingKey: generateSealingKeys().publicKey,
  }
}

async function signed(nodeId: NodeId, purpose: 'enrollment' | 'token') {
  const { challenge } = await enrollment.createChallenge(nodeId)
  return { nodeId, challenge, signature: signatureOf(nodeId, challenge, { purpose }) }
}

function signatureOf(
  nodeId: NodeId,
  challenge: string,
  {
    purpose,
    key = signing.privateKey,
    hub = HUB,
  }: { purpose: 'enrollment' | 'token'; key?: string; hub?: string },
): string {
  return sign(key, challengeMessage({ purpose, nodeId, challenge, hubCertificateSha256: hub }))
}
