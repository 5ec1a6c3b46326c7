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
  const last = lines.findLast(line => /error/i.test(line)) ?? lines.at(-1)
  const words = last === undefined ? '' : `: ${sentence(last)}`
  if (exit) return `nbdkit ended ${exit.signal ? `by ${exit.signal}` : `with status ${exit.code}`}${words}`
  if (symptom === 'not-started') return `nbdkit did not start in time${words}`
  return `${symptom === 'disk-open-failed' ? 'The disk could not be opened' : 'The disk could not be read'}${words}`
}

/** A message without the names of program and plugin in front. */
function sentence(line: string): string {
  return line.replace(/^nbdkit: (\S+\[\d+\]: )?(error: )?/, '').trim()
}

/**
 * Messages of VMware's library, of nbdkit's vddk plugin and of the loader; the first that fits counts. Texts
 * differ between versions of VDDK, so the patterns look for the part that does not. A wrong thumbprint has no
 * message of its own in some versions ("Unknown error"): the Node compares the certificate before it starts nbdkit.
 */
const PATTERNS: readonly { code: ProblemCode; pattern: RegExp }[] = [
  {
    code: 'vddk-session-limit',
    pattern:
      /session limit|(maximum|max|too many|limit)[^\n]*(connections?|sessions?)|NBD_ERR_INSUFFICIENT_RESOURCES|NBD_ERR_.*(LIMIT|TOO_MANY)/i,
  },
  {
    code: 'disk-locked',
    pattern:
      /failed to lock|(file|disk) is (already )?(locked|in use)|already in use|being used by another|file.*locked/i,
  },
  {
    code: 'vcenter-credentials-invalid',
    pattern:
      /incorrect user name or password|cannot complete login|login fail|insufficient permissions in the host operating system|authentication fail/i,
  },
  {
    code: 'vcenter-certificate-mismatch',
    pattern: /thumbprint|certificate (verif|verify|is not|has)|SSL.*(certificate|verify)/i,
  },
  {
    code: 'vddk-unavailable',
    pattern:
      /libvixDiskLib|cannot open (shared object|plugin)|error while loading shared libraries|VixDiskLib_Init(Ex)?:|plugin .*(not found|cannot)/i,
  },
  {
    code: 'disk-read-failed',
    pattern: /VixDiskLib_(Read|ReadAsync|Wait)\b|asynchronous read|error completing/i,
  },
]
