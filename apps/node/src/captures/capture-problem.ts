import { PROBLEMS, type ProblemCode } from '@sendense/contracts'
import { EngineError } from '@sendense/engine'
import { AppError } from '@sendense/platform'
import { vcenterProblem } from '../vcenter/vcenter-problem.ts'

/** Puts whatever ended a capture under a code of the contract. An abort counts more than what it broke. */
export function captureProblem(error: unknown, signal: AbortSignal): AppError {
  if (signal.aborted) return AppError.from(signal.reason)
  return AppError.from(engineProblem(vcenterProblem(error)))
}

/** Puts an error of the engine under a code of the contract; leaves others as they are. */
export function engineProblem(error: unknown): unknown {
  if (!(error instanceof EngineError)) return error
  if (isProblemCode(error.code)) return new AppError(error.code, { detail: error.message, cause: error })
  // What remains is a disagreement between our own parts, or a native module that is missing.
  return new AppError('internal', { cause: error })
}

function isProblemCode(code: string): code is ProblemCode {
  return Object.hasOwn(PROBLEMS, code)
}
