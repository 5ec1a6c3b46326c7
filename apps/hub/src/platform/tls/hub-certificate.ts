import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { createSecureContext } from 'node:tls'
import { type Clock, writeFileAtomic } from '@sendense/platform'
import { generate } from 'selfsigned'
import type { HubConfig } from '../config.ts'

/** What the Hub shows on both of its ports. */
export interface HubCertificate {
  /** End entity first. */
  readonly certificatePem: string
  readonly privateKeyPem: string
  /** SHA-256 of the end entity, lower-case hex: what Nodes and command lines pin. */
  readonly sha256: string
}

const VALID_YEARS = 10

/** The certificate of the configuration, or the Hub's own, which is made at the first start. */
export async function hubCertificate(
  config: Pick<HubConfig, 'dataDir' | 'publicHost' | 'certificateFile' | 'privateKeyFile'>,
  clock: Clock,
): Promise<HubCertificate> {
  const { certificateFile, privateKeyFile } = config
  if (certificateFile !== undefined && privateKeyFile !== undefined) {
    return checked(await readFile(certificateFile, 'utf8'), await readFile(privateKeyFile, 'utf8'))
  }
  return (await readOwn(config.dataDir)) ?? (await makeOwn(config.dataDir, config.publicHost, clock))
}

/** One file for both, so that a crash cannot leave a certificate with the key of another. */
function ownPath(dataDir: string): string {
  return join(dataDir, 'certificate.pem')
}

async function readOwn(dataDir: string): Promise<HubCertificate | undefined> {
  let both: string
  try {
    both = await readFile(ownPath(dataDir), 'utf8')
  } catch (error) {
    // Any other failure must not make a new certificate: every Node would stop trusting the Hub.
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
  const keyStart = both.search(/-----BEGIN [A-Z ]*PRIVATE KEY-----/)
  return checked(both.slice(0, keyStart), both.slice(keyStart))
}

async function makeOwn(dataDir: string, publicHost: string, clock: Clock): Promise<HubCertificate> {
  const notBeforeDate = clock.now()
  const notAfterDate = new Date(notBeforeDate)
  notAfterDate.setUTCFullYear(notAfterDate.getUTCFullYear() + VALID_YEARS)
  const made = await generate([{ name: 'commonName', value: `Sendense Hub ${publicHost}`.slice(0, 64) }], {
    keyType: 'ec',
    curve: 'P-256',
    algorithm: 'sha256',
    notBeforeDate,
    notAfterDate,
    extensions: [
      { name: 'basicConstraints', cA: false, critical: true },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      { name: 'extKeyUsage', serverAuth: true },
      {
        name: 'subjectAltName',
        altNames: [...new Set([publicHost, 'localhost', '127.0.0.1'])].map(toAltName),
      },
    ],
  })
  const certificate = checked(`${made.cert.trim()}\n`, `${made.private.trim()}\n`)
  const both = certificate.certificatePem + certificate.privateKeyPem
  await writeFileAtomic(ownPath(dataDir), both, { mode: 0o600 })
  return certificate
}

function toAltName(host: string) {
  return isIP(host) ? ({ type: 7, ip: host } as const) : ({ type: 2, value: host } as const)
}

/** Fails here, at the start, rather than at the first handshake. */
function checked(certificatePem: string, privateKeyPem: string): HubCertificate {
  createSecureContext({ cert: certificatePem, key: privateKeyPem })
  const sha256 = new X509Certificate(certificatePem).fingerprint256.replaceAll(':', '').toLowerCase()
  return { certificatePem, privateKeyPem, sha256 }
}
