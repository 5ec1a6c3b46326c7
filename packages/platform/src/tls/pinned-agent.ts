import { X509Certificate } from 'node:crypto'
import { Agent, type AgentOptions } from 'node:https'
import type { Duplex } from 'node:stream'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { AppError } from '../app-error.ts'
import { plainHex } from './read-tls-fingerprint.ts'

/** Which certificate to trust: itself, or its SHA-256 in hex with or without colons. */
export type Pin = { readonly caPem: string } | { readonly certificateSha256: string }

/**
 * An agent that talks to the holder of exactly one certificate, whatever its name, issuer or date. Any other ends
 * with `hub-certificate-mismatch` before a byte of the request is sent.
 */
export function pinnedAgent(pin: Pin, options: AgentOptions = { keepAlive: true }): Agent {
  return new PinnedAgent(
    'caPem' in pin
      ? plainHex(new X509Certificate(pin.caPem).fingerprint256)
      : plainHex(pin.certificateSha256),
    options,
  )
}

type Created = (error: Error | null, socket?: Duplex) => void

class PinnedAgent extends Agent {
  readonly #sha256: string

  constructor(sha256: string, options: AgentOptions) {
    super(options)
    this.#sha256 = sha256
  }

  /** The request waits for the callback, so it cannot reach a server that was not checked. */
  override createConnection(options: ConnectionOptions, created: Created): undefined {
    // The handshake proves that the peer holds the key of its certificate; the pin says whose certificate it must be.
    const socket = connect({ ...options, rejectUnauthorized: false })
    const fail = (error: Error) => {
      socket.destroy()
      created(error)
    }
    socket.once('error', fail)
    socket.once('secureConnect', () => {
      socket.off('error', fail)
      if (shownBy(socket) === this.#sha256) created(null, socket)
      else fail(new AppError('hub-certificate-mismatch'))
    })
  }
}

function shownBy(socket: TLSSocket): string | undefined {
  const certificate = socket.getPeerX509Certificate()
  return certificate && plainHex(certificate.fingerprint256)
}
