import { once } from 'node:events'
import type { Response } from 'express'
import type { z } from 'zod'
import { AppError } from '../app-error.ts'

export interface EventStreamOptions {
  /** Aborted when the caller hangs up. */
  signal: AbortSignal
  requestId: string
  /** Pause after which a comment is sent, so that nobody in between takes the connection for dead. */
  heartbeatMs?: number
}

/**
 * Answers with server-sent events until the source ends or the caller hangs up. The last event is `end` or `problem`;
 * a stream that breaks off without one may be taken up again. What fails before the first event is an ordinary error.
 */
export async function sendEvents(
  res: Response,
  schema: z.ZodType,
  source: AsyncIterable<unknown>,
  { signal, requestId, heartbeatMs = 15_000 }: EventStreamOptions,
): Promise<void> {
  const events = source[Symbol.asyncIterator]()
  let next = await events.next()
  if (signal.aborted) return leave(events)
  openStream(res)
  const heartbeat = setInterval(() => res.write(': still here\n\n'), heartbeatMs)
  try {
    for (let id = 1; !next.done && !signal.aborted; id++) {
      await write(res, `id: ${id}\ndata: ${JSON.stringify(schema.parse(next.value))}\n\n`, signal)
      next = await events.next()
    }
    if (!signal.aborted) res.write('event: end\ndata: {}\n\n')
  } catch (error) {
    if (!signal.aborted) res.write(problemEvent(error, requestId))
  } finally {
    clearInterval(heartbeat)
    leave(events)
    res.end()
  }
}

function openStream(res: Response): void {
  res.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    // Proxies that collect answers would hold the events back.
    'x-accel-buffering': 'no',
  })
  res.flushHeaders()
}

async function write(res: Response, text: string, signal: AbortSignal): Promise<void> {
  if (res.write(text) || signal.aborted) return
  await once(res, 'drain', { signal })
}

function problemEvent(error: unknown, requestId: string): string {
  return `event: problem\ndata: ${JSON.stringify(AppError.from(error).toProblem(requestId))}\n\n`
}

/** A generator answers `return` only when its pending step ends, so this must not be waited for. */
function leave(events: AsyncIterator<unknown>): void {
  events.return?.().catch(() => undefined)
}
