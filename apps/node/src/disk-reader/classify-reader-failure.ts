import type { ProblemCode } from '@sendense/contracts'
import { AppError } from '@sendense/platform'

/** How a process ended. */
export interface ProcessExit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** What is known when a disk could not be opened or read. */
export interface ReaderFailure {
  /** What nbdkit wrote, secrets blotted out. */
  readonly messages: string
  /** How nbdkit ended, if it has. */
  readonly exit: ProcessExit | null
  /** What the reading side saw. */
  readonly symptom: 'not-started' | 'disk-open-failed' | 'disk-read-failed'
  readonly cause?: unknown
}

/** Puts a failure under the code of its cause, as far as the messages tell. */
export function classifyReaderFailure(failure: ReaderFailure): AppError {
  const lines = failure.messages.split('\n').filter(line => line !== '')
  for (const { code, pattern } of PATTERNS) {
    const line = lines.findLast(text => pattern.test(text))
    if (line !== undefined) return readerError(code, sentence(line), failure)
  }
  return readerError(codeWithoutMessage(failure), describe(failure, lines), failure)
}

function readerError(code: ProblemCode, detail: string, { cause }: ReaderFailure): AppError {
  return new AppError(code, { detail, cause })
}

function codeWithoutMessage({ exit, symptom }: ReaderFailure): ProblemCode {
  if (symptom === 'not-started') return 'vddk-unavailable'
  return exit ? 'nbdkit-crashed' : symptom
}

function describe({ exit, symptom }: ReaderFailure, lines: readonly string[]): string {
  const telling = lines.find(line => /error/i.test(line) && !ADVICE.test(line)) ?? lines.at(-1)
  const words = telling === undefined ? '' : `: ${sentence(telling)}`
  if (exit) return `nbdkit ended ${exit.signal ? `by ${exit.signal}` : `with status ${exit.code}`}${words}`
  if (symptom === 'not-started') return `nbdkit did not start in time${words}`
  return `${symptom === 'disk-open-failed' ? 'The disk could not be opened' : 'The disk could not be read'}${words}`
}

/** What the plugin adds to an error that VMware's library does not explain. */
const ADVICE = /can be caused by several problems/

/** A message without the names of program and plugin in front. */
function sentence(line: string): string {
  return line.replace(/^nbdkit: (\S+\[\d+\]: )?(error: )?/, '').trim()
}

/**
 * Messages of VMware's library, of nbdkit's vddk plugin and of the loader; the first that fits counts. Texts differ
 * between versions of VDDK, so the patterns look for the part that does not.
 *
 * "Insufficient permissions in the host operating system" is what VDDK says of a wrong password and of a missing
 * privilege alike. The Node has logged in with the same credentials a moment ago, so it is the privilege. A wrong
 * thumbprint has no message of its own in some versions ("Unknown error"): the Node compares the certificate before
 * it starts nbdkit.
 */
const PATTERNS: readonly { code: ProblemCode; pattern: RegExp }[] = [
  {
    code: 'vddk-session-limit',
    pattern:
      /session limit|(maximum|too many|limit)[^\n]*(connections?|sessions?)|NBD_ERR_INSUFFICIENT_RESOURCES/i,
  },
  {
    code: 'disk-locked',
    pattern:
      /failed to lock|already in use|being used by another|(file|disk) is (locked|in use)|file.*locked/i,
  },
  { code: 'vcenter-permission-missing', pattern: /insufficient permissions|permission to perform this/i },
  {
    code: 'vcenter-credentials-invalid',
    pattern: /incorrect user name or password|cannot complete login|login fail|authentication fail/i,
  },
  {
    code: 'vcenter-certificate-mismatch',
    pattern: /thumbprint|SSL.*(certificate|verify)|certificate verif/i,
  },
  {
    code: 'vddk-unavailable',
    pattern: /libvixDiskLib|cannot open shared object|error while loading|VixDiskLib_Init(Ex)?:/i,
  },
  {
    code: 'disk-read-failed',
    pattern: /VixDiskLib_(Read|ReadAsync|Wait)\b|asynchronous read|error completing/i,
  },
]
