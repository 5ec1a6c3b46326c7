import type { TunnelCaller, TunnelHandlers, TunnelMethods } from '@sendense/contracts'
import { createBirpc } from 'birpc'
import type { WebSocket } from 'ws'
import { z } from 'zod'
import { AppError } from '../app-error.ts'
import type { Logger } from '../logger.ts'
import { type Answer, readAnswer, serveCall } from './answer.ts'
import { linkDown, Outbox } from './outbox.ts'

export interface TunnelOptions<Offers extends TunnelMethods, Calls extends TunnelMethods> {
  /** An open socket. Make it with `maxPayload: TUNNEL_MESSAGE_BYTES_MAX` and without compression. */
  socket: WebSocket
  /** The methods of this side, and what they do. */
  offers: Offers
  handlers: TunnelHandlers<Offers>
  /** The methods of the other side. */
  calls: Calls
  heartbeatMs?: number
  callTimeoutMs?: number
  log: Logger
}

/** One life of the connection between Hub and Node. */
export interface Tunnel<Calls extends TunnelMethods> {
  /**
   * Calls the other side. What its handler threw on purpose arrives as the same `AppError`. When the link goes or no
   * answer comes in time: `node-unreachable`; whether the call took effect is then unknown.
   */
  readonly call: TunnelCaller<Calls>
  /** Resolves when the connection has ended, by whatever cause. */
  readonly closed: Promise<{ code: number; reason: string }>
  close(code?: number, reason?: string): void
}

/** Largest message that either side accepts. Lists of thousands of VMs fit; bytes of disks do not go this way. */
export const TUNNEL_MESSAGE_BYTES_MAX = 32 * 1024 * 1024

/** Runs typed calls in both directions over a socket, with a heartbeat that notices a dead link. */
export function attachTunnel<Offers extends TunnelMethods, Calls extends TunnelMethods>(
  options: TunnelOptions<Offers, Calls>,
): Tunnel<Calls> {
  const { socket, calls, heartbeatMs = 10_000, callTimeoutMs = 30_000, log } = options
  const outbox = new Outbox(socket)
  const rpc = createBirpc<Record<string, Served>, Record<string, Served>, false>(servedMethods(options), {
    proxify: false,
    resolver: (name, served) => (served as Served | undefined) ?? (() => unknownMethod(name)),
    post: (text: string) => outbox.post(text),
    on: listener => listenTo(socket, listener, log),
    serialize: message => JSON.stringify(message),
    // `listenTo` has parsed and checked it.
    deserialize: message => message,
    timeout: callTimeoutMs,
    onTimeoutError: method => {
      throw new AppError('node-unreachable', {
        detail: `${method} got no answer in ${callTimeoutMs / 1000} s`,
      })
    },
    // Only a failed post comes here: the link is down, and whoever called has been told so.
    onGeneralError: error => !(error instanceof AppError) && logFailure(log, error),
  })
  const closed = new Promise<{ code: number; reason: string }>(resolve => {
    socket.once('close', (code, reason) => {
      rpc.$close(linkDown())
      resolve({ code, reason: reason.toString() })
    })
  })
  socket.on('error', error => log.debug('The tunnel broke', { error }))
  keepAlive(socket, heartbeatMs)
  return {
    call: makeCaller(calls, (name, params) => rpc.$call(name, params)),
    closed,
    close: (code = 1000, reason = '') => socket.close(code, reason),
  }
}

type Served = (params: unknown) => Promise<Answer>
/** Calls of the other side that may run at the same time. */
const RUNNING_CALLS_MAX = 256

function servedMethods<Offers extends TunnelMethods, Calls extends TunnelMethods>({
  offers,
  handlers,
  log,
}: TunnelOptions<Offers, Calls>): Record<string, Served> {
  let runningCount = 0
  // No prototype: a call of `constructor` must find nothing.
  const served: Record<string, Served> = Object.create(null)
  for (const [name, method] of Object.entries(offers)) {
    const handler = handlers[name as keyof Offers] as (params: unknown) => Promise<unknown>
    served[name] = async params => {
      if (runningCount >= RUNNING_CALLS_MAX) return { error: new AppError('too-many-requests').toFailure() }
      runningCount++
      const answer = await serveCall(name, method, handler, { params, log })
      runningCount--
      return answer
    }
  }
  return served
}

async function unknownMethod(name: string): Promise<Answer> {
  const detail = `The other side of the tunnel offers no method ${name}; update the older one of Hub and Node`
  return { error: new AppError('protocol-mismatch', { detail }).toFailure() }
}

function makeCaller<Calls extends TunnelMethods>(
  calls: Calls,
  send: (name: string, params: unknown) => Promise<unknown>,
): TunnelCaller<Calls> {
  const caller = Object.entries(calls).map(([name, method]) => [
    name,
    async (params: unknown) =>
      readAnswer(name, method, await asAppError(send(name, method.params.parse(params)))),
  ])
  return Object.fromEntries(caller) as TunnelCaller<Calls>
}

/** A new error for each call: those that the end of a link rejects share one. */
async function asAppError(sent: Promise<unknown>): Promise<unknown> {
  try {
    return await sent
  } catch (error) {
    if (error instanceof AppError)
      throw new AppError(error.code, { detail: error.message, cause: error.cause })
    throw linkDown(error)
  }
}

/** What birpc sends: a request or its answer. */
const Message = z.union([
  z.object({ t: z.literal('q'), m: z.string(), a: z.array(z.unknown()).max(1), i: z.string().max(64) }),
  z.object({
    t: z.literal('s'),
    i: z.string().max(64),
    r: z.unknown().optional(),
    e: z.unknown().optional(),
  }),
])

function listenTo(socket: WebSocket, listener: (message: unknown) => unknown, log: Logger): void {
  socket.on('message', (data, isBinary) => {
    const message = isBinary ? undefined : parseMessage(data.toString())
    if (message) return void Promise.resolve(listener(message)).catch(error => logFailure(log, error))
    log.warn('The other side of the tunnel sent something that is no message')
    socket.close(1002, 'not a message')
  })
}

function parseMessage(text: string): z.output<typeof Message> | undefined {
  try {
    return Message.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}

function logFailure(log: Logger, error: unknown): true {
  log.error('The tunnel could not handle a message', { error })
  return true
}

const SILENT_BEATS_MAX = 3

/** Ends the connection when nothing was heard for three beats: TCP alone would notice after minutes. */
function keepAlive(socket: WebSocket, heartbeatMs: number): void {
  let silentBeats = 0
  const heard = () => {
    silentBeats = 0
  }
  for (const event of ['pong', 'ping', 'message']) socket.on(event, heard)
  const timer = setInterval(() => {
    if (silentBeats++ >= SILENT_BEATS_MAX) socket.terminate()
    else socket.ping()
  }, heartbeatMs)
  socket.once('close', () => clearInterval(timer))
}
