import { randomBytes, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { API_ROOT, healthRoutes, nodeLocalRoutes } from '@sendense/contracts'
import {
  AppError,
  type Authenticate,
  bindRoutes,
  type Logger,
  notFoundHandler,
  principalOf,
  problemHandler,
  writeFileAtomic,
} from '@sendense/platform'
import express, { type Express } from 'express'
import { healthHandlers, type LocalApiServices, nodeHandlers } from './local-api.routes.ts'

export interface LocalApiOptions {
  /** 0 for any. */
  readonly port: number
  /** Where address and token are written to, readable for the Node's own user only. */
  readonly apiFile: string
  readonly services: LocalApiServices
  readonly log: Logger
}

/** The Node's own API while it is served. */
export interface LocalApi extends AsyncDisposable {
  readonly url: string
}

/**
 * Serves the Node's own API on loopback. The token is new at each start and lies in a file, so whoever may read the
 * state directory may use the API, and no one else on this machine.
 */
export async function serveLocalApi({ port, apiFile, services, log }: LocalApiOptions): Promise<LocalApi> {
  const token = randomBytes(32).toString('base64url')
  const server = createServer(makeApp(services, token, log))
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  await writeFileAtomic(apiFile, JSON.stringify({ url, token }), { mode: 0o600 })
  log.info('The API of the Node listens', { url, apiFile })
  return {
    url,
    [Symbol.asyncDispose]: async () => {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

function makeApp(services: LocalApiServices, token: string, log: Logger): Express {
  const api = express.Router()
  const authenticate = bearer(token)
  bindRoutes(api, healthRoutes, healthHandlers(services))
  bindRoutes(api, nodeLocalRoutes, nodeHandlers(services), { authenticate })
  return express()
    .disable('x-powered-by')
    .use(express.json({ limit: '64kb' }))
    .use(API_ROOT, api)
    .use(notFoundHandler)
    .use(problemHandler(log))
}

function bearer(token: string): Authenticate {
  const expected = Buffer.from(`Bearer ${token}`)
  const operator = principalOf({ id: 'local', name: 'local operator', role: 'administrator' })
  return async req => {
    const given = Buffer.from(req.headers.authorization ?? '')
    const isRight = given.length === expected.length && timingSafeEqual(given, expected)
    if (!isRight)
      throw new AppError('unauthenticated', { detail: 'The token stands in api.json of the state directory' })
    return operator
  }
}
