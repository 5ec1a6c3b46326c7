import type { Agent } from 'node:https'
import { API_ROOT, TUNNEL_PATH } from '@sendense/contracts'
import { AppError, TUNNEL_MESSAGE_BYTES_MAX } from '@sendense/platform'
import { WebSocket } from 'ws'

const HANDSHAKE_TIMEOUT_MS = 15_000

/**
 * Opens the WebSocket of the tunnel. Fails with `unauthenticated` when the Hub does not accept the token, with
 * `hub-certificate-mismatch` when it is not our Hub, and with `node-unreachable` when it does not answer.
 */
export function openHubSocket({
  hubUrl,
  token,
  agent,
  signal,
}: {
  hubUrl: string
  token: string
  agent: Agent
  signal: AbortSignal
}): Promise<WebSocket> {
  const url = new URL(`${API_ROOT}${TUNNEL_PATH}`, hubUrl)
  url.protocol = 'wss:'
  const socket = new WebSocket(url, {
    agent,
    headers: { authorization: `Bearer ${token}` },
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    maxPayload: TUNNEL_MESSAGE_BYTES_MAX,
    perMessageDeflate: false,
  })
  return new Promise((resolve, reject) => {
    const giveUp = () => socket.terminate()
    signal.addEventListener('abort', giveUp, { once: true })
    const settled = () => signal.removeEventListener('abort', giveUp)
    socket.once('open', () => {
      settled()
      resolve(socket)
    })
    socket.once('unexpected-response', (_request, response) => {
      response.resume()
      settled()
      // A handshake that is over must not raise an error that nobody listens to.
      socket.on('error', () => {}).terminate()
      reject(refusal(response.statusCode))
    })
    socket.once('error', error => {
      settled()
      reject(error instanceof AppError ? error : unreachable(error))
    })
  })
}

function refusal(status: number | undefined): AppError {
  if (status === 401) return new AppError('unauthenticated', { detail: 'The Hub does not accept the token' })
  if (status === 403) return new AppError('forbidden', { detail: 'The Hub does not let this Node connect' })
  return new AppError('node-unreachable', { detail: `The Hub answered with status ${status}` })
}

function unreachable(cause: Error): AppError {
  return new AppError('node-unreachable', { detail: `The Hub does not answer: ${cause.message}`, cause })
}
