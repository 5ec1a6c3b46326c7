import { access } from 'node:fs/promises'
import { ApiProblem } from '@sendense/client'
import type { ProblemCode } from '@sendense/contracts'

/** A code and the words that went with it. */
export interface SeenProblem {
  readonly code: string
  readonly detail: string
}

/** What a call was refused with; throws if it was not, or not by a problem. */
export async function problemOf(call: Promise<unknown>): Promise<SeenProblem> {
  const error = await call.then(
    () => undefined,
    (caught: unknown) => caught,
  )
  if (error instanceof ApiProblem) return { code: error.problem.code, detail: error.problem.detail ?? '' }
  throw new Error('The call was not answered with a problem', { cause: error })
}

/** Whether people find a page about the code. */
export async function hasPage(code: ProblemCode): Promise<boolean> {
  return access(new URL(`../../docs/problems/${code}.md`, import.meta.url)).then(
    () => true,
    () => false,
  )
}
