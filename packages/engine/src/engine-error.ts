/**
 * What an engine call can fail with. Codes that the contract knows too mean the same there. A code never changes
 * its meaning; `crates/engine/src/error.rs` is the other end of this list.
 */
export const ENGINE_ERROR_CODES = [
  // Data plane (docs/design/data-plane.md).
  'ticket-invalid',
  'capture-unknown',
  'capture-mismatch',
  'capture-incomplete',
  'protocol-mismatch',
  'chunk-malformed',
  'chunk-hash-mismatch',
  'frame-too-large',
  'data-plane-unreachable',
  'hub-certificate-mismatch',
  // Base of an incremental capture: it does not fit the disk, which is read as a whole then. None is an error to the user.
  'base-disk-missing',
  'base-size-differs',
  'base-chunk-size-differs',
  // Reading the source disk.
  'disk-open-failed',
  'disk-read-failed',
  // Repositories and restore points.
  'repository-exists',
  'repository-not-found',
  'repository-password-wrong',
  'repository-unsupported',
  'repository-unavailable',
  'repository-locked',
  'repository-damaged',
  'repository-full',
  'repository-quota-exceeded',
  'repository-low-space',
  'repository-key-last',
  // Places of repositories.
  'storage-unreachable',
  'storage-credentials-wrong',
  'storage-permission-missing',
  'storage-container-missing',
  'storage-certificate-untrusted',
  'storage-host-key-mismatch',
  'storage-clock-skewed',
  'storage-object-lock-missing',
  'storage-protected',
  // Restore points.
  'restore-point-missing',
  'restore-point-damaged',
  'restore-point-being-pruned',
  // Restores.
  'restore-target-invalid',
  'restore-target-exists',
  'restore-target-full',
  // Everything.
  /** An argument is out of its range. */
  'request-invalid',
  /** The signal was aborted, or `abort()` was called. */
  'cancelled',
  /** The native module is missing or does not fit. */
  'engine-missing',
  /** A bug of ours. */
  'internal',
] as const

export type EngineErrorCode = (typeof ENGINE_ERROR_CODES)[number]

/** The one error of this package. */
export class EngineError extends Error {
  override readonly name = 'EngineError'
  readonly code: EngineErrorCode
  /** True if the same call may succeed later without anyone changing anything. */
  readonly temporary: boolean

  constructor(
    code: EngineErrorCode,
    message: string,
    options: { temporary?: boolean; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.temporary = options.temporary ?? false
  }
}

/** Calls the native module; whatever it throws or rejects with becomes an `EngineError`. */
export async function callNative<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw toEngineError(error)
  }
}

/**
 * Takes a native error apart. Native async functions can only reject with a message, so the code travels in front
 * of it: `repository-full: No space left`, and `repository-unavailable!: …` where trying again may help.
 */
export function toEngineError(error: unknown): EngineError {
  if (error instanceof EngineError) return error
  const text = error instanceof Error ? error.message : String(error)
  const [, code, temporary, message] = /^([a-z][a-z-]*)(!?): (.*)$/s.exec(text) ?? []
  if (code === undefined || message === undefined || !isEngineErrorCode(code)) {
    return new EngineError('internal', text, { cause: error })
  }
  return new EngineError(code, message, { temporary: temporary === '!', cause: error })
}

function isEngineErrorCode(code: string): code is EngineErrorCode {
  return (ENGINE_ERROR_CODES as readonly string[]).includes(code)
}
