import { isIP } from 'node:net'
import { connect } from 'node:tls'

export interface ShownCertificate {
  /** SHA-256 of the DER encoding, lower-case hex. */
  readonly sha256: string
  readonly pem: string
}

/** Asks a server which certificate it shows. Nothing is trusted and nothing is sent: the handshake is all. */
export function readTlsFingerprint(
  host: string,
  port: number,
  { timeoutMs = 10_000 }: { timeoutMs?: number } = {},
): Promise<ShownCertificate> {
  return new Promise((resolve, reject) => {
    // Whoever asks decides by the fingerprint, after this.
    const servername = isIP(host) ? undefined : host
    const socket = connect({ host, port, rejectUnauthorized: false, ...(servername && { servername }) })
    socket.setTimeout(timeoutMs, () => {
      socket.destroy(new Error(`${host}:${port} did not answer within ${timeoutMs / 1000} s`))
    })
    socket.once('error', reject)
    socket.once('secureConnect', () => {
      const certificate = socket.getPeerX509Certificate()
      socket.destroy()
      if (!certificate) return reject(new Error(`${host}:${port} shows no certificate`))
      resolve({ sha256: plainHex(certificate.fingerprint256), pem: certificate.toString() })
    })
  })
}

/** A fingerprint without colons, lower case. */
export function plainHex(fingerprint: string): string {
  return fingerprint.replaceAll(':', '').toLowerCase()
}
