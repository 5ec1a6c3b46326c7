import type { X509Certificate } from 'node:crypto'
import https from 'node:https'
import { isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import tls from 'node:tls'
import type { CertificateThumbprint } from '../types.ts'
import { VsphereError } from '../vsphere-error.ts'

/** How the server proves who it is. */
export interface ServerTrust {
  readonly thumbprint?: string | undefined
  readonly caPem?: string | undefined
}

/** How long TCP and TLS may take to connect, at most. */
const CONNECT_TIMEOUT_MS = 20_000
/** Idle connections are closed early, so that the server is not the one who does it under a request. */
const IDLE_TIMEOUT_MS = 15_000

/**
 * Keeps connections alive and hands one out only after its server has proven itself, so that no byte of a
 * request, let alone of a login, reaches a stranger.
 */
export class VerifyingAgent extends https.Agent {
  readonly #tls: tls.ConnectionOptions
  readonly #check: CertificateCheck
  readonly #timeoutMs: number

  constructor(trust: ServerTrust, connectTimeoutMs = CONNECT_TIMEOUT_MS) {
    // A resumed TLS session would skip the certificate, hence none is kept.
    super({ keepAlive: true, timeout: IDLE_TIMEOUT_MS, maxSockets: 16, maxCachedSessions: 0 })
    this.#timeoutMs = Math.min(connectTimeoutMs, CONNECT_TIMEOUT_MS)
    if (trust.thumbprint === undefined) {
      this.#tls = { rejectUnauthorized: true, ...(trust.caPem !== undefined && { ca: trust.caPem }) }
      this.#check = () => {}
    } else {
      this.#tls = { rejectUnauthorized: false }
      this.#check = pinTo(trust.thumbprint)
    }
  }

  override createConnection(
    options: https.RequestOptions,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    const done = callback as ((error: Error | null, stream?: Duplex) => void) | undefined
    this.#open(options).then(
      socket => done?.(null, socket),
      (error: Error) => done?.(error),
    )
    return undefined
  }

  async #open(options: https.RequestOptions): Promise<tls.TLSSocket> {
    const socket = await openTls(options.host ?? '', Number(options.port), this.#tls, this.#timeoutMs)
    try {
      this.#check(peerCertificate(socket))
    } catch (error) {
      socket.destroy()
      throw error
    }
    return socket
  }
}

/**
 * Asks a server for its certificate and sends nothing. What comes back is a claim, to be confirmed by a person
 * or by comparison with a pinned value.
 */
export async function fetchThumbprint(host: string, port = 443): Promise<CertificateThumbprint> {
  let socket: tls.TLSSocket
  try {
    socket = await openTls(host, port, { rejectUnauthorized: false })
  } catch (error) {
    const reason = error instanceof Error ? error.message : 'unknown'
    throw new VsphereError({
      fault: 'Unreachable',
      kind: 'unreachable',
      message: `No TLS connection to ${host}:${port}: ${reason}`,
    })
  }
  try {
    const certificate = peerCertificate(socket)
    return {
      sha1: certificate.fingerprint,
      sha256: certificate.fingerprint256,
      subject: certificate.subject,
      issuer: certificate.issuer,
      validFrom: new Date(certificate.validFrom),
      validTo: new Date(certificate.validTo),
    }
  } finally {
    socket.destroy()
  }
}

/** Throws if a certificate is not the right one. */
type CertificateCheck = (certificate: X509Certificate) => void

function pinTo(thumbprint: string): CertificateCheck {
  const wanted = plainHex(thumbprint)
  const field = FIELD_OF_LENGTH.get(wanted.length)
  if (field === undefined || !/^[0-9a-f]+$/.test(wanted)) {
    throw new VsphereError({
      fault: 'InvalidThumbprint',
      kind: 'certificate',
      message: 'The thumbprint is neither a SHA-1 nor a SHA-256 in hex',
    })
  }
  return certificate => {
    if (plainHex(certificate[field]) === wanted) return
    throw new VsphereError({
      fault: 'CertificateMismatch',
      kind: 'certificate',
      message: `The server shows the certificate ${certificate[field]}, which is not the pinned one`,
    })
  }
}

/** Hex digits of a SHA-1 and of a SHA-256. */
const FIELD_OF_LENGTH: ReadonlyMap<number, 'fingerprint' | 'fingerprint256'> = new Map([
  [40, 'fingerprint'],
  [64, 'fingerprint256'],
])

function plainHex(thumbprint: string): string {
  return thumbprint.replace(/[:\s]/g, '').toLowerCase()
}

function peerCertificate(socket: tls.TLSSocket): X509Certificate {
  const certificate = socket.getPeerX509Certificate()
  if (certificate !== undefined) return certificate
  throw new VsphereError({
    fault: 'CertificateMismatch',
    kind: 'certificate',
    message: 'The server shows no certificate',
  })
}

/** Resolves when the handshake is over; with `rejectUnauthorized` only if the certificate is good. */
function openTls(
  host: string,
  port: number,
  options: tls.ConnectionOptions,
  timeoutMs = CONNECT_TIMEOUT_MS,
): Promise<tls.TLSSocket> {
  return new Promise((resolve, reject) => {
    const name = isIP(host) === 0 ? { servername: host } : {}
    const socket = tls.connect({ host, port, ...name, ...options })
    const settle = () => {
      clearTimeout(timer)
      socket.off('error', fail).off('close', closed).off('secureConnect', succeed)
    }
    const succeed = () => {
      settle()
      resolve(socket)
    }
    const fail = (error: Error) => {
      settle()
      // A second error of a connection that is given up must not end the process.
      socket.on('error', () => {})
      socket.destroy()
      reject(error)
    }
    const closed = () => fail(new Error('the server closed the connection'))
    const timer = setTimeout(() => fail(new Error('the server did not answer in time')), timeoutMs)
    socket.on('error', fail).on('close', closed).on('secureConnect', succeed)
  })
}
