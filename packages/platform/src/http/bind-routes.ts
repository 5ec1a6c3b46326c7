import type { HandlerInput, HandlerOutput, Problem, Route, RouteMap } from '@sendense/contracts'
import type { Request, Response, Router } from 'express'
import { AppError } from '../app-error.ts'
import { sendEvents } from './event-stream.ts'
import type { Principal } from './principal.ts'
import { requestIdOf } from './request-id.ts'

/** What a handler knows about a request besides its input. */
export interface PublicContext {
  /** Aborted when the caller hangs up. */
  readonly signal: AbortSignal
  readonly requestId: string
  readonly remoteAddress: string
}
/** The same for a route that is not public. */
export interface Context extends PublicContext {
  readonly principal: Principal
}

/** One handler a route. A route of events answers with an async iterable, which must end when the signal is aborted. */
export type Handlers<R extends RouteMap> = {
  [N in keyof R]: (
    input: HandlerInput<R[N]>,
    context: R[N]['permission'] extends 'public' ? PublicContext : Context,
  ) => HandlerOutput<R[N]> | Promise<HandlerOutput<R[N]>>
}

/** Tells who sent the request, or throws `unauthenticated`. */
export type Authenticate = (req: Request, res: Response) => Promise<Principal>

/** Mounts the routes of a capability: caller, permission, input, handler, answer; in this order. */
export function bindRoutes<R extends RouteMap>(
  router: Router,
  routes: R,
  handlers: Handlers<R>,
  { authenticate }: { authenticate?: Authenticate } = {},
): void {
  for (const [name, route] of Object.entries(routes)) {
    // The mapped type above has checked each pair; inside the loop they are all alike.
    const handle = handlers[name as keyof R] as unknown as AnyHandler
    router[route.method](route.path, async (req, res) => {
      const principal = await authorize(route, authenticate, req, res)
      const input = parseRequest(route, req)
      const context = { ...contextOf(req, res), ...(principal && { principal }) }
      const output = await handle(input, context)
      if (route.events) await sendEvents(res, route.events, output as AsyncIterable<unknown>, context)
      else sendAnswer(res, route, output)
    })
  }
}

type AnyHandler = (input: unknown, context: PublicContext) => unknown

async function authorize(
  route: Route,
  authenticate: Authenticate | undefined,
  req: Request,
  res: Response,
): Promise<Principal | undefined> {
  if (route.permission === 'public') return undefined
  if (!authenticate) throw new AppError('unauthenticated')
  const principal = await authenticate(req, res)
  if (!principal.can(route.permission)) {
    const detail = `This needs the permission ${route.permission}`
    throw principal.refusal ? new AppError(principal.refusal) : new AppError('forbidden', { detail })
  }
  return principal
}

function contextOf(req: Request, res: Response): PublicContext {
  const hangUp = new AbortController()
  res.once('close', () => hangUp.abort())
  return {
    signal: hangUp.signal,
    requestId: requestIdOf(res),
    remoteAddress: req.socket.remoteAddress ?? '',
  }
}

const PARTS = ['params', 'query', 'body'] as const

function parseRequest(route: Route, req: Request): unknown {
  const errors: NonNullable<Problem['errors']> = []
  const input: Record<string, unknown> = {}
  for (const part of PARTS) {
    // A missing body is an empty one: all members may have defaults.
    const parsed = route[part]?.safeParse(req[part] ?? {})
    if (parsed?.success) input[part] = parsed.data
    for (const issue of parsed?.error?.issues ?? []) {
      errors.push({ pointer: `/${[part, ...issue.path].join('/')}`, detail: issue.message })
    }
  }
  if (errors.length > 0) {
    const detail = errors.map(error => `${error.pointer}: ${error.detail}`).join('; ')
    throw new AppError('request-invalid', { detail, errors })
  }
  return input
}

/** The schema of the answer is the last gate: what the contract does not name does not leave. */
function sendAnswer(res: Response, route: Route, output: unknown): void {
  const body = route.response?.parse(output)
  res.status(route.status ?? (route.response ? 200 : 204)).setHeader('cache-control', 'no-store')
  if (route.response) res.json(body)
  else res.end()
}
