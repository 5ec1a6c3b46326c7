import { API_ROOT } from '@sendense/contracts'
import { type Logger, notFoundHandler, problemHandler, requestIdOf } from '@sendense/platform'
import express, { type Express, type RequestHandler, type Router } from 'express'
import helmet from 'helmet'
import { documents } from './documents.ts'

export interface AppOptions {
  /** The routes of all capabilities, below the API's root. */
  api: Router
  docsDir: string
  log: Logger
}

/** Ten thousand instance UUIDs fit into a body. */
const BODY_BYTES_MAX = 1024 * 1024

/** The Express application around the routes: headers, bodies, log, documents, and problems for all that fails. */
export function buildApp({ api, docsDir, log }: AppOptions): Express {
  const app = express()
  app.disable('x-powered-by')
  app.set('query parser', 'simple')
  app.use(logRequests(log), helmet(SECURITY_HEADERS))
  app.use(documents(docsDir))
  app.use(API_ROOT, express.json({ limit: BODY_BYTES_MAX }), api)
  app.use(notFoundHandler, problemHandler(log))
  return app
}

const SECURITY_HEADERS: Parameters<typeof helmet>[0] = {
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'self'"],
      // The page of the documents draws its icons as data URLs.
      imgSrc: ["'self'", 'data:'],
      connectSrc: ["'self'"],
      baseUri: ["'none'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
    },
  },
  // The certificate is usually the Hub's own: a browser that was told to insist would lock people out.
  strictTransportSecurity: false,
  referrerPolicy: { policy: 'no-referrer' },
}

/** One line a request when it has been answered. The query is left out: it may hold what people search for. */
function logRequests(log: Logger): RequestHandler {
  return (req, res, next) => {
    const requestId = requestIdOf(res)
    const { method, path } = req
    const startedMs = performance.now()
    res.once('close', () => {
      const durationMs = Math.round(performance.now() - startedMs)
      const write = method === 'GET' ? log.debug : log.info
      write('A request was answered', { requestId, method, path, status: res.statusCode, durationMs })
    })
    next()
  }
}
