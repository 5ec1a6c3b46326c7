import { X509Certificate } from 'node:crypto'
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '@sendense/platform'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { hubCertificate } from './hub-certificate.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sendense-cert-'))
})
afterEach(() => rm(folder, { recursive: true }))

const none = { certificateFile: undefined, privateKeyFile: undefined }

test('the own certificate is made once, for ten years, with the names of the Hub', async () => {
  const config = { dataDir: folder, publicHost: 'hub.example', ...none }
  const made = await hubCertificate(config, systemClock)
  const certificate = new X509Certificate(made.certificatePem)
  expect(certificate.checkHost('hub.example')).toBe('hub.example')
  expect(certificate.checkHost('localhost')).toBe('localhost')
  expect(certificate.checkIP('127.0.0.1')).toBe('127.0.0.1')
  expect(certificate.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1')
  const years = (certificate.validToDate.getTime() - Date.now()) / (365.25 * 86_400_000)
  expect(years).toBeCloseTo(10, 1)
  expect((await stat(join(folder, 'certificate.pem'))).mode & 0o777).toBe(0o600)
  expect(await hubCertificate(config, systemClock)).toEqual(made)
})

test('an address is a name too', async () => {
  const { certificatePem } = await hubCertificate(
    { dataDir: folder, publicHost: '192.0.2.7', ...none },
    systemClock,
  )
  expect(new X509Certificate(certificatePem).checkIP('192.0.2.7')).toBe('192.0.2.7')
})

test('a certificate of one’s own is taken, and must fit its key', async () => {
  const one = await hubCertificate({ dataDir: folder, publicHost: 'a', ...none }, systemClock)
  await rm(join(folder, 'certificate.pem'))
  const other = await hubCertificate({ dataDir: folder, publicHost: 'b', ...none }, systemClock)
  const [certificateFile, privateKeyFile] = [join(folder, 'c.pem'), join(folder, 'k.pem')]
  await writeFile(certificateFile, one.certificatePem)
  await writeFile(privateKeyFile, one.privateKeyPem)
  const config = { dataDir: folder, publicHost: 'a', certificateFile, privateKeyFile }
  expect((await hubCertificate(config, systemClock)).sha256).toBe(one.sha256)
  await writeFile(privateKeyFile, other.privateKeyPem)
  await expect(hubCertificate(config, systemClock)).rejects.toThrow()
})

test('a damaged certificate is an error, not a reason to make a new one', async () => {
  await writeFile(join(folder, 'certificate.pem'), 'damaged')
  await expect(hubCertificate({ dataDir: folder, publicHost: 'a', ...none }, systemClock)).rejects.toThrow()
})
