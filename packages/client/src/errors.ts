import type { Problem } from '@sendense/contracts'

/** The server answered with a problem. Switch on `problem.code`, never on text. */
export class ApiProblem extends Error {
  override readonly name = 'ApiProblem'
  readonly problem: Problem

  constructor(problem: Problem) {
    super(problem.detail ?? problem.title)
    this.problem = problem
  }
}

/** No answer came: the server is unreachable, shows another certificate, or broke off. */
export class ConnectionError extends Error {
  override readonly name = 'ConnectionError'
  /** Code of the system or of the agent, such as `ECONNREFUSED` or `hub-certificate-mismatch`. */
  readonly code: string | undefined

  /** Takes text and code only: errors of HTTP clients carry the request, token included. */
  constructor(origin: string, error: unknown) {
    const { message, code } = wordsOf(error)
    super(`${origin} did not answer: ${message}`)
    this.code = code
  }
}

/** Node and fetch hide the reason in a cause; an empty message is what they put above several. */
function wordsOf(error: unknown): { message: string; code: string | undefined } {
  if (!(error instanceof Error)) return { message: String(error), code: undefined }
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  if (code === undefined && error.cause instanceof Error) return wordsOf(error.cause)
  return { message: error.message || code || error.name, code }
}
