import { PROBLEMS, type ProblemCode, TunnelError, type TunnelMethod } from '@sendense/contracts'
import { z } from 'zod'
import { AppError } from '../app-error.ts'
import type { Logger } from '../logger.ts'

/** How a call is answered on the wire. JSON would lose what an Error is, so failures travel as data. */
export const Answer = z.union([z.object({ result: z.unknown() }), z.object({ error: TunnelError })])
export type Answer = z.output<typeof Answer>

type AnyHandler = (params: unknown) => Promise<unknown>

/** Serves one call: checks what came, runs the handler, checks what goes back. Never throws. */
export async function serveCall(
  name: string,
  method: TunnelMethod,
  handler: AnyHandler,
  { params, log }: { params: unknown; log: Logger },
): Promise<Answer> {
  try {
    const parsed = method.params.safeParse(params)
    if (!parsed.success) throw new AppError('request-invalid', { detail: z.prettifyError(parsed.error) })
    return { result: method.result.parse(await handler(parsed.data)) }
  } catch (error) {
    const appError = AppError.from(error)
    if (appError.code === 'internal')
      log.error('A call over the tunnel failed', { method: name, error: appError })
    return { error: appError.toFailure() }
  }
}

/** Takes an answer apart again. Throws the error that the handler threw, with its code and its words. */
export function readAnswer(name: string, method: TunnelMethod, answer: unknown): unknown {
  const { data } = Answer.safeParse(answer)
  if (data && 'error' in data) throw fromTunnelError(data.error)
  const result = data && method.result.safeParse(data.result)
  if (result?.success) return result.data
  const detail = `The other side answered ${name} with something that this version does not understand`
  throw new AppError('protocol-mismatch', { detail, cause: result?.error })
}

function fromTunnelError({ code, detail }: z.output<typeof TunnelError>): AppError {
  return isProblemCode(code)
    ? new AppError(code, { detail })
    : new AppError('internal', { cause: new Error(`The other side failed with ${code}: ${detail}`) })
}

function isProblemCode(code: string): code is ProblemCode {
  return Object.hasOwn(PROBLEMS, code)
}
