import type { Agent } from 'node:https'
import axios, { type AxiosResponse } from 'axios'
import { ConnectionError } from './errors.ts'
import type { Transport, TransportRequest, TransportResponse } from './transport.ts'

export interface AxiosTransportOptions {
  /** Decides which certificates are trusted. */
  httpsAgent?: Agent | undefined
  /** For whole answers; streams have no limit. */
  timeoutMs?: number
}

const ANSWER_BYTES_MAX = 64 * 1024 * 1024

/** The transport for programs. */
export function axiosTransport({ httpsAgent, timeoutMs = 60_000 }: AxiosTransportOptions = {}): Transport {
  return async request => {
    const { method, url, headers, body, signal, isStream } = request
    try {
      const response: AxiosResponse = await axios.request({
        method,
        url,
        headers: { ...headers },
        responseType: isStream ? 'stream' : 'text',
        // Text stays text: parsing is the contract's.
        transformResponse: (data: unknown) => data,
        validateStatus: () => true,
        maxRedirects: 0,
        maxContentLength: isStream ? -1 : ANSWER_BYTES_MAX,
        timeout: isStream ? 0 : timeoutMs,
        // A proxy in between would end the TLS connection that the agent checks.
        proxy: false,
        ...(body !== undefined && { data: body }),
        ...(httpsAgent && { httpsAgent }),
        ...(signal && { signal }),
      })
      return answerOf(response, request)
    } catch (error) {
      throw translated(error, request)
    }
  }
}

function answerOf({ status, statusText, data }: AxiosResponse, request: TransportRequest): TransportResponse {
  const chunks = () => (request.isStream ? streamed(data, request) : single(data))
  return {
    status,
    statusText,
    chunks,
    text: async () => {
      const parts: Uint8Array[] = []
      for await (const chunk of chunks()) parts.push(chunk)
      return Buffer.concat(parts).toString('utf8')
    },
  }
}

async function* single(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text, 'utf8')
}

async function* streamed(
  data: AsyncIterable<Uint8Array>,
  request: TransportRequest,
): AsyncGenerator<Uint8Array> {
  try {
    yield* data
  } catch (error) {
    throw translated(error, request)
  }
}

function translated(error: unknown, { signal, url }: TransportRequest): unknown {
  return signal?.aborted ? signal.reason : new ConnectionError(new URL(url).origin, error)
}
