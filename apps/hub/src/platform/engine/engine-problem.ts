import { PROBLEMS, type ProblemCode } from '@sendense/contracts'
import { EngineError, type EngineErrorCode } from '@sendense/engine'
import { AppError } from '@sendense/platform'

/**
 * The one place where an error of the engine becomes one of the contract. Codes that both know mean the same. The
 * message of the engine is written for people and goes along; `internal` stays in the log.
 */
export function fromEngine(error: unknown): unknown {
  if (!(error instanceof EngineError)) return error
  return new AppError(toProblemCode(error.code), { detail: error.message, cause: error })
}

/** For `.catch`: rethrows an error of the engine as one of the contract. */
export function throwFromEngine(error: unknown): never {
  throw fromEngine(error)
}

/** Whoever gives a base or an argument checks it first; that the engine refuses one is a mistake of ours. */
const MISTAKES_OF_OURS: ReadonlySet<EngineErrorCode> = new Set([
  'base-disk-missing',
  'base-size-differs',
  'base-chunk-size-differs',
  'engine-missing',
  'request-invalid',
])

function toProblemCode(code: EngineErrorCode): ProblemCode {
  if (code === 'cancelled') return 'job-cancelled'
  return MISTAKES_OF_OURS.has(code) || !isProblemCode(code) ? 'internal' : code
}

function isProblemCode(code: string): code is ProblemCode {
  return Object.hasOwn(PROBLEMS, code)
}
