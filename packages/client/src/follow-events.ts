import { Problem, type Route } from '@sendense/contracts'
import { ApiProblem, ConnectionError } from './errors.ts'
import { parseEvents } from './event-parser.ts'
import { type Input, parseAnswer, request, type Server } from './send.ts'
import type { TransportResponse } from './transport.ts'

/** Pauses before the stream is taken up again; a stream that gives an event starts over. */
const PAUSES_MS = [200, 1000, 2000, 5000, 5000, 5000]

/**
 * Opens a stream of events; rejects when it cannot be opened. The stream is taken up again where it broke off, and
 * ends when the server says so. Leaving the loop closes the connection.
 */
export async function followEvents(
  server: Server,
  route: Route,
  { signal, ...input }: Input,
): Promise<AsyncIterable<unknown>> {
  const leave = new AbortController()
  const left = signal ? AbortSignal.any([signal, leave.signal]) : leave.signal
  const open = (lastId?: string) =>
    request(
      server,
      route,
      { ...input, signal: left },
      lastId === undefined ? {} : { 'last-event-id': lastId },
    )
  const first = await open()
  return events(route, first, { open, leave, signal: left })
}

interface Stream {
  open(lastId?: string): Promise<TransportResponse>
  readonly leave: AbortController
  readonly signal: AbortSignal
}

/** Where the reader is in the stream, across connections. */
interface Position {
  lastId?: string
  failureCount: number
}

async function* events(route: Route, first: TransportResponse, stream: Stream): AsyncGenerator<unknown> {
  const position: Position = { failureCount: 0 }
  let response: TransportResponse | undefined = first
  try {
    for (;;) {
      try {
        response ??= await stream.open(position.lastId)
        return yield* readConnection(route, response, position)
      } catch (error) {
        const pauseMs = isWorthAnotherTry(error) ? PAUSES_MS[position.failureCount++] : undefined
        if (pauseMs === undefined) throw error
        await pause(pauseMs, stream.signal)
      }
      response = undefined
    }
  } finally {
    stream.leave.abort()
  }
}

/** Returns where the server says that the stream ends. */
async function* readConnection(
  route: Route,
  response: TransportResponse,
  position: Position,
): AsyncGenerator<unknown> {
  for await (const event of parseEvents(response.chunks())) {
    if (event.type === 'end') return
    if (event.type === 'problem') throw new ApiProblem(Problem.parse(JSON.parse(event.data)))
    if (event.id !== undefined) position.lastId = event.id
    position.failureCount = 0
    yield parseAnswer(route, event.data)
  }
  throw new ConnectionError('The server', 'the stream of events broke off')
}

function isWorthAnotherTry(error: unknown): boolean {
  return error instanceof ConnectionError || (error instanceof ApiProblem && error.problem.status === 503)
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted()
    const wake = () => {
      signal.removeEventListener('abort', stop)
      resolve()
    }
    const stop = () => {
      clearTimeout(timer)
      reject(signal.reason)
    }
    const timer = setTimeout(wake, ms)
    signal.addEventListener('abort', stop, { once: true })
  })
}
