import type { WebSocket } from 'ws'
import { AppError } from '../app-error.ts'

/** Bytes handed to the socket that the network has not taken yet. */
const IN_FLIGHT_BYTES_MAX = 4 * 1024 * 1024
/** Bytes of the messages that wait behind them. */
const WAITING_BYTES_MAX = 64 * 1024 * 1024

/** Sends messages in order, at the pace of the network and in bounded memory. */
export class Outbox {
  readonly #socket: WebSocket
  readonly #waiting: Buffer[] = []
  #waitingBytes = 0

  constructor(socket: WebSocket) {
    this.#socket = socket
  }

  /**
   * Takes a message; `node-unreachable` when the link is down or much too slow. Returns at once on purpose: birpc
   * leaves a rejection unhandled when the link ends while it waits here.
   */
  post(text: string): void {
    if (this.#socket.readyState !== this.#socket.OPEN) throw linkDown()
    const message = Buffer.from(text, 'utf8')
    if (this.#waitingBytes + message.length > WAITING_BYTES_MAX) {
      const detail = 'The other side takes messages more slowly than they are made'
      throw new AppError('node-unreachable', { detail })
    }
    this.#waiting.push(message)
    this.#waitingBytes += message.length
    this.#pump()
  }

  #pump(): void {
    while (this.#socket.bufferedAmount < IN_FLIGHT_BYTES_MAX) {
      const message = this.#waiting.shift()
      if (!message) return
      this.#waitingBytes -= message.length
      // A message that cannot be sent means that the link is ending, which rejects the calls.
      this.#socket.send(message, { binary: false }, error => error || this.#pump())
    }
  }
}

export function linkDown(cause?: unknown): AppError {
  return new AppError('node-unreachable', { detail: 'The connection between Hub and Node is down', cause })
}
