import type { Agent } from 'node:https'
import {
  type ApiMap,
  type ClientInput,
  type ClientOutput,
  type HubApi,
  hubApi,
  type Route,
  type RouteMap,
} from '@sendense/contracts'
import { axiosTransport } from './axios-transport.ts'
import { followEvents } from './follow-events.ts'
import { send } from './send.ts'
import type { Transport } from './transport.ts'

export interface ClientOptions {
  /** Root of the API: `https://hub.example:8443/api/v1`. */
  baseUrl: string
  /** Bearer token, or how to get one; asked before each request. */
  token?: string | (() => string | Promise<string>) | undefined
  /** Which certificates to trust, for the transport for programs. */
  httpsAgent?: Agent
  /** The one for programs when absent. */
  transport?: Transport
}

export interface CallOptions {
  signal?: AbortSignal
}

type Call<R extends Route> =
  {} extends ClientInput<R>
    ? (input?: ClientInput<R>, options?: CallOptions) => Promise<ClientOutput<R>>
    : (input: ClientInput<R>, options?: CallOptions) => Promise<ClientOutput<R>>

/** A function for each route of an API, by capability. Throws `ApiProblem` or `ConnectionError`. */
export type ClientOf<A extends ApiMap> = {
  [C in keyof A]: { [N in keyof A[C]]: A[C][N] extends Route ? Call<A[C][N]> : never }
}
export type Client = ClientOf<HubApi>

/** A client of the Hub. */
export function createClient(options: ClientOptions): Client {
  return createClientOf(hubApi, options)
}

/** A client of any API, for example `nodeApi`. */
export function createClientOf<A extends ApiMap>(api: A, options: ClientOptions): ClientOf<A> {
  const { baseUrl, token, httpsAgent, transport = axiosTransport({ httpsAgent }) } = options
  const server = { baseUrl, token, transport }
  const bind = ([capability, routes]: [string, RouteMap]) => [capability, mapValues(routes, callOf)]
  const callOf = (route: Route) =>
    route.events
      ? (input: object = {}, call: CallOptions = {}) => followEvents(server, route, { ...input, ...call })
      : (input: object = {}, call: CallOptions = {}) => send(server, route, { ...input, ...call })
  // The types above say what each function takes and gives; here they are all alike.
  return Object.fromEntries(Object.entries(api).map(bind)) as unknown as ClientOf<A>
}

function mapValues<V, W>(values: Record<string, V>, map: (value: V) => W): Record<string, W> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, map(value)]))
}
