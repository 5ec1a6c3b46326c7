/** Why the program ends with another status than 0. Documented in docs/cli.md; scripts rely on the numbers. */
export const EXIT_CODES = {
  /** The Hub answered with a problem, or the job failed. */
  failed: 1,
  /** The command line is wrong. */
  usage: 2,
  /** The Hub cannot be reached, or shows another certificate. */
  unreachable: 3,
  /** Nobody is logged in, or the session has ended. */
  'not-logged-in': 4,
} as const

export type ExitReason = keyof typeof EXIT_CODES

/** An error with words for the person at the terminal. */
export class CliError extends Error {
  override readonly name = 'CliError'
  readonly reason: ExitReason

  constructor(reason: ExitReason, message: string, options?: ErrorOptions) {
    super(message, options)
    this.reason = reason
  }
}
