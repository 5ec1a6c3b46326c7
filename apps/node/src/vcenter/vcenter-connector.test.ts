import { generateSealingKeys, openSealed, sealTo } from '@sendense/platform'
import { beforeEach, expect, test } from 'vitest'
import { FakeVsphere, vsphereError } from '../testing/fake-vsphere.ts'
import { anOrder } from '../testing/makers.ts'
import { VcenterConnector } from './vcenter-connector.ts'

const keys = generateSealingKeys()
let vsphere: FakeVsphere
let connector: VcenterConnector

beforeEach(() => {
  vsphere = new FakeVsphere()
  connector = new VcenterConnector({
    connect: vsphere.connect,
    fetchThumbprint: async () => vsphere.thumbprint,
    unseal: box => openSealed(keys.privateKey, box, 'test'),
  })
})

async function anAccess(
  credentials: unknown = { username: 'backup', password: 'right' },
  publicKey = keys.publicKey,
) {
  const sealedCredentials = await sealTo(publicKey, JSON.stringify(credentials), 'test')
  return { ...anOrder().vcenter, sealedCredentials }
}

test('logs in with credentials that only this Node can open', async () => {
  await using session = await connector.connect(await anAccess())
  expect(session.about.instanceUuid).toBe('vcenter-1')
})

test.for<[string, () => ReturnType<typeof anAccess>]>([
  ['sealed to another Node', () => anAccess(undefined, generateSealingKeys().publicKey)],
  ['of another shape', () => anAccess({ user: 'backup', password: 'right-but-secret' })],
])('credentials %s are refused without a word of what is in them', async ([_what, access]) => {
  const error = await connector.connect(await access()).catch((caught: unknown) => caught)
  expect(error).toMatchObject({ code: 'vcenter-credentials-invalid' })
  expect(error).not.toHaveProperty('cause')
  expect(String(error)).not.toContain('right-but-secret')
  expect(vsphere.calls).toEqual([])
})

test('a certificate that nobody has pinned is shown for somebody to decide', async () => {
  vsphere.failNext('connect', vsphereError('certificate', 'CertificateMismatch'))
  const { thumbprint: _pinned, ...unpinned } = await anAccess()
  await expect(connector.connect(unpinned)).rejects.toMatchObject({
    code: 'vcenter-certificate-mismatch',
    message: expect.stringContaining(vsphere.thumbprint.sha256),
  })
})

test('a pinned certificate that is not shown is an error without advice to trust another', async () => {
  vsphere.failNext('connect', vsphereError('certificate', 'CertificateMismatch'))
  await expect(connector.connect(await anAccess())).rejects.toMatchObject({
    code: 'vcenter-certificate-mismatch',
    message: expect.not.stringContaining(vsphere.thumbprint.sha256),
  })
})

test('disks are read only from the server with the pinned certificate', async () => {
  const access = await anAccess()
  expect(await connector.readerAccess(access)).toMatchObject({ sha1Thumbprint: vsphere.thumbprint.sha1 })
  const { thumbprint: _pinned, ...unpinned } = access
  for (const refused of [unpinned, { ...access, thumbprint: '00'.repeat(32) }]) {
    await expect(connector.readerAccess(refused)).rejects.toMatchObject({
      code: 'vcenter-certificate-mismatch',
    })
  }
  const bySha1 = { ...access, thumbprint: vsphere.thumbprint.sha1 }
  expect(await connector.readerAccess(bySha1)).toMatchObject({ password: 'right' })
})
