import { once } from 'node:events'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Express } from 'express'
import type { HubCertificate } from '../tls/hub-certificate.ts'

/**
 * How long a connection stays open that nobody uses. Longer than people and programs pause between two requests: one
 * that is sent at the moment of the closing fails.
 */
const IDLE_MS = 75_000
/** How long requests that are being answered may take when the Hub stops. */
const CLOSE_GRACE_MS = 2000

export interface HttpsListener {
  readonly server: Server
  readonly port: number
  /** Stops listening and ends all connections, those that stay open for events too. */
  close(): Promise<void>
}

/** Serves the application over TLS. */
export async function listenHttps(
  app: Express,
  { certificatePem, privateKeyPem }: HubCertificate,
  { host, port }: { host: string; port: number },
): Promise<HttpsListener> {
  const options = { cert: certificatePem, key: privateKeyPem, minVersion: 'TLSv1.2' } as const
  const server = createServer({ ...options, keepAliveTimeout: IDLE_MS }, app)
  server.listen(port, host)
  await once(server, 'listening')
  return {
    server,
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = once(server, 'close')
      server.close()
      server.closeIdleConnections()
      const timer = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS)
      await closed
      clearTimeout(timer)
    },
  }
}
