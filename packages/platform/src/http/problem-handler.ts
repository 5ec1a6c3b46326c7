import type { ErrorRequestHandler, RequestHandler } from 'express'
import { AppError } from '../app-error.ts'
import type { Logger } from '../logger.ts'
import { requestIdOf } from './request-id.ts'

/** The only place where an error becomes an answer, and where it is logged. */
export const problemHandler =
  (log: Logger): ErrorRequestHandler =>
  (error, req, res, next) => {
    const appError = toAppError(error)
    const requestId = requestIdOf(res)
    const problem = appError.toProblem(requestId)
    const fields = { requestId, method: req.method, path: req.path, code: appError.code, error: appError }
    if (problem.status >= 500) log.error('A request failed', fields)
    else log.debug('A request was refused', { ...fields, error: undefined, detail: problem.detail })
    // Half an answer cannot be taken back: Express ends the connection.
    if (res.headersSent) return next(error)
    if (problem.status === 401) res.setHeader('www-authenticate', 'Bearer')
    if (problem.status === 503) res.setHeader('retry-after', '5')
    res.setHeader('cache-control', 'no-store')
    res.status(problem.status).type('application/problem+json').send(JSON.stringify(problem))
  }

/** For the end of the chain: nothing was mounted at this path. */
export const notFoundHandler: RequestHandler = req => {
  throw new AppError('not-found', { detail: `There is nothing at ${req.method} ${req.path}` })
}

/** Express and its parsers mark what the caller did wrong with a status below 500. */
function toAppError(error: unknown): AppError {
  const status = error instanceof Error && 'status' in error ? Number(error.status) : Number.NaN
  if (error instanceof AppError || !(status >= 400 && status < 500)) return AppError.from(error)
  if (status === 413) return new AppError('payload-too-large', { cause: error })
  const detail = error instanceof SyntaxError ? 'The body is not valid JSON' : undefined
  return new AppError('request-invalid', { detail, cause: error })
}
