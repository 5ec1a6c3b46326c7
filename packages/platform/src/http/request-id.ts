import type { Response } from 'express'
import { newId } from '../new-id.ts'

/** The id of the request that this is the response of: made at the first call, and sent as `x-request-id`. */
export function requestIdOf(res: Response): string {
  const locals = res.locals as { requestId?: string }
  if (locals.requestId === undefined) {
    locals.requestId = newId()
    if (!res.headersSent) res.setHeader('x-request-id', locals.requestId)
  }
  return locals.requestId
}
