import { ConnectionError } from './errors.ts'
import type { Transport, TransportRequest } from './transport.ts'

/** The transport for the browser. */
export function fetchTransport(send: typeof fetch = fetch): Transport {
  return async request => {
    const { method, url, headers, body, signal } = request
    const response = await orTranslated(request, () =>
      send(url, {
        method: method.toUpperCase(),
        headers,
        redirect: 'manual',
        ...(body !== undefined && { body }),
        ...(signal && { signal }),
      }),
    )
    return {
      status: response.status,
      statusText: response.statusText,
      text: () => orTranslated(request, () => response.text()),
      chunks: () => chunksOf(response, request),
    }
  }
}

async function* chunksOf(response: Response, request: TransportRequest): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader()
  if (!reader) return
  try {
    for (;;) {
      const { done, value } = await orTranslated(request, () => reader.read())
      if (done) return
      yield value
    }
  } finally {
    // Ends the connection when the consumer leaves early; after an error there is nothing to cancel.
    await reader.cancel().catch(() => undefined)
  }
}

async function orTranslated<T>({ signal, url }: TransportRequest, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (error) {
    throw signal?.aborted ? signal.reason : new ConnectionError(new URL(url).origin, error)
  }
}
