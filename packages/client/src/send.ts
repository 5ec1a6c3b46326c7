import { Problem, type Route } from '@sendense/contracts'
import { ApiProblem } from './errors.ts'
import type { Transport, TransportResponse } from './transport.ts'

export interface Server {
  readonly baseUrl: string
  readonly token: string | (() => string | Promise<string>) | undefined
  readonly transport: Transport
}

export interface Input {
  readonly params?: Record<string, unknown>
  readonly query?: Record<string, unknown>
  readonly body?: unknown
  readonly signal?: AbortSignal
}

/** Sends a request, and hands back the answer as the contract describes it. */
export async function send(server: Server, route: Route, input: Input): Promise<unknown> {
  const response = await request(server, route, input)
  if (!route.response) return undefined
  return parseAnswer(route, await response.text())
}

/** Sends a request. Every answer that is not a success throws `ApiProblem`. */
export async function request(
  { baseUrl, token, transport }: Server,
  route: Route,
  { params = {}, query = {}, body, signal }: Input,
  headers: Record<string, string> = {},
): Promise<TransportResponse> {
  const bearer = typeof token === 'function' ? await token() : token
  const response = await transport({
    method: route.method,
    url: baseUrl.replace(/\/$/, '') + pathOf(route, params, query),
    headers: {
      accept: route.events ? 'text/event-stream' : 'application/json',
      ...(bearer !== undefined && { authorization: `Bearer ${bearer}` }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
    isStream: route.events !== undefined,
    ...(body !== undefined && { body: JSON.stringify(body) }),
    ...(signal && { signal }),
  })
  if (response.status < 200 || response.status > 299) throw new ApiProblem(await problemOf(response))
  return response
}

/** Parses what the server sent against the contract. */
export function parseAnswer(route: Route, text: string): unknown {
  const schema = route.events ?? route.response
  const parsed = schema?.safeParse(toJson(text))
  if (parsed?.success) return parsed.data
  const words = `The answer to ${route.method.toUpperCase()} ${route.path} is not what this version understands`
  throw new Error(words, { cause: parsed?.error })
}

function pathOf(route: Route, params: Record<string, unknown>, query: Record<string, unknown>): string {
  const path = route.path.replaceAll(/:(\w+)/g, (_, name: string) => encodeURIComponent(String(params[name])))
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, String(value))
  return search.size === 0 ? path : `${path}?${search}`
}

/** Something in between may answer with what is no problem document. */
async function problemOf(response: TransportResponse): Promise<Problem> {
  const parsed = Problem.safeParse(toJson(await response.text()))
  if (parsed.success) return parsed.data
  const title = response.statusText || `HTTP status ${response.status}`
  return { type: 'about:blank', title, status: response.status, code: 'internal' }
}

function toJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
