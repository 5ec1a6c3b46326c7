import { type Failure, PROBLEMS, type Problem, type ProblemCode } from '@sendense/contracts'

export interface AppErrorOptions {
  /** For the caller's eyes: what happened and what to do about it. No secret, no stack. */
  detail?: string | undefined
  /** What is wrong with the request, by pointer. */
  errors?: Problem['errors']
  /** For the log only. */
  cause?: unknown
}

/** The one error that our code throws on purpose. Whatever else reaches a boundary is a bug: `internal`. */
export class AppError extends Error {
  override readonly name = 'AppError'
  readonly code: ProblemCode
  readonly errors: Problem['errors']

  constructor(code: ProblemCode, { detail, errors, cause }: AppErrorOptions = {}) {
    super(detail ?? PROBLEMS[code].title, cause === undefined ? undefined : { cause })
    this.code = code
    this.errors = errors
  }

  /** The error itself, or `internal` around anything that is not ours. */
  static from(error: unknown): AppError {
    return error instanceof AppError ? error : new AppError('internal', { cause: error })
  }

  /** Whether it is one of ours with this code. */
  static is(error: unknown, code: ProblemCode): error is AppError {
    return error instanceof AppError && error.code === code
  }

  /** The body of the answer to a request. The text of an unexpected error stays in the log. */
  toProblem(requestId: string): Problem {
    const { status, title } = PROBLEMS[this.code]
    return {
      type: `/problems/${this.code}`,
      title,
      status,
      code: this.code,
      instance: `urn:uuid:${requestId}`,
      ...(this.code !== 'internal' && { detail: this.message }),
      ...(this.errors && { errors: this.errors }),
    }
  }

  /** What is kept with a failed job and shown to people. */
  toFailure(): Failure {
    return { code: this.code, detail: this.code === 'internal' ? PROBLEMS.internal.title : this.message }
  }
}
