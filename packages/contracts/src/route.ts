import type { z } from 'zod'
import type { Permission } from './permission.ts'
import type { ProblemCode } from './problem.ts'

/** One endpoint, described once. The servers bind it, the client calls it, the documents print it. */
export interface Route {
  method: 'get' | 'post' | 'put' | 'patch' | 'delete'
  /** Express-style path below the API's root: `/vms/:vmId`. */
  path: `/${string}`
  summary: string
  description?: string
  params?: z.ZodObject
  query?: z.ZodObject
  body?: z.ZodType
  /** 204 and no body when absent. */
  response?: z.ZodType
  /** Set instead of `response`: the answer is a stream of server-sent events, each of this shape. */
  events?: z.ZodType
  /** 200 (204 without a response) when absent. */
  status?: 200 | 201 | 202 | 204
  /** Permission that the caller must hold; `public` for none. */
  permission: Permission | 'public'
  /** Codes beyond the ones that every route may answer with. */
  problems?: readonly ProblemCode[]
}
export type RouteMap = Record<string, Route>
/** One entry a capability. */
export type ApiMap = Record<string, RouteMap>

/** Keeps the literal types of the routes while checking their shape. */
export const defineRoutes = <const R extends RouteMap>(routes: R): R => routes

type Parsed<T> = T extends z.ZodType ? z.output<T> : undefined
type Sent<T> = T extends z.ZodType ? z.input<T> : undefined

/** What a handler receives: everything already parsed. */
export interface HandlerInput<R extends Route> {
  params: Parsed<R['params']>
  query: Parsed<R['query']>
  body: Parsed<R['body']>
}
/** What a handler returns: the answer, an event source, or nothing. */
export type HandlerOutput<R extends Route> = R['events'] extends z.ZodType
  ? AsyncIterable<z.input<R['events']>>
  : R['response'] extends z.ZodType
    ? z.input<R['response']>
    : void
/** What the client hands back. */
export type ClientOutput<R extends Route> = R['events'] extends z.ZodType
  ? AsyncIterable<z.output<R['events']>>
  : R['response'] extends z.ZodType
    ? z.output<R['response']>
    : void

type Part<K extends string, T> = T extends z.ZodType
  ? {} extends Sent<T>
    ? { [P in K]?: Sent<T> }
    : { [P in K]: Sent<T> }
  : unknown
/** What a caller passes: only the parts that the route has. */
export type ClientInput<R extends Route> = Part<'params', R['params']> &
  Part<'query', R['query']> &
  Part<'body', R['body']>
