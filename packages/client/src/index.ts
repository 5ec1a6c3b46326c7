/** Calls the API of a Hub or a Node as typed functions, made from the contract. */

export { axiosTransport } from './axios-transport.ts'
export {
  type CallOptions,
  type Client,
  type ClientOf,
  type ClientOptions,
  createClient,
  createClientOf,
} from './create-client.ts'
export { ApiProblem, ConnectionError } from './errors.ts'
export { fetchTransport } from './fetch-transport.ts'
export type { Transport, TransportRequest, TransportResponse } from './transport.ts'
