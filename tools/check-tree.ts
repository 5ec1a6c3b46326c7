import { execFileSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { runCheck } from './run-check.ts'

/** Larger files do not belong into git, except those that are listed with their reason. */
const FILE_BYTES_MAX = 1024 * 1024
const LARGE_FILES: string[] = []

/** A line with this word may look like a secret: a test that plants one says so where it does. */
const PLANTED = 'planted-secret'

/** What must not be in the tree, and what to call it. */
const FOREIGN: { name: string; pattern: RegExp }[] = [
  {
    name: 'a path of one person’s machine',
    pattern: /(?<![\w.~-])\/(?:home\/[a-z][\w.-]*|Users\/[A-Za-z][\w.-]*|root|work)\/[\w.-]/,
  },
  { name: 'a private key', pattern: /-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s*(?:\\n)?[A-Za-z0-9+/]{16}/ },
  {
    name: 'an access key',
    pattern: /\b(?:AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|npm_[A-Za-z0-9]{36}|glpat-[\w-]{20})\b/,
  },
  { name: 'a JSON web token', pattern: /\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}/ },
]

/** What is foreign in the text of one file, one line each. */
export function complaintsAboutText(path: string, text: string): string[] {
  return FOREIGN.flatMap(({ name, pattern }) => {
    const all = [...text.matchAll(new RegExp(pattern, 'g'))]
    return all
      .filter(match => !lineAt(text, match.index).includes(PLANTED))
      .map(match => `${path}:${lineNumberAt(text, match.index)}: ${name}`)
  })
}

/** A file that is too large, unless it is known to be. */
export function complaintsAboutSize(
  path: string,
  sizeBytes: number,
  known: readonly string[] = LARGE_FILES,
): string[] {
  if (sizeBytes <= FILE_BYTES_MAX || known.includes(path)) return []
  return [`${path}: ${sizeBytes} bytes; files over ${FILE_BYTES_MAX} bytes do not belong into the repository`]
}

function lineAt(text: string, index: number): string {
  const end = text.indexOf('\n', index)
  return text.slice(text.lastIndexOf('\n', index) + 1, end === -1 ? undefined : end)
}

function lineNumberAt(text: string, index: number): number {
  return text.slice(0, index).split('\n').length
}

/** Tracked files and those that git would add. */
function filesOfTheTree(): string[] {
  const output = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], {
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  })
  return output.split('\0').filter(path => path !== '' && statSync(path, { throwIfNoEntry: false })?.isFile())
}

if (import.meta.main) {
  await runCheck('tree', () => {
    const paths = filesOfTheTree()
    return {
      complaints: [
        ...paths.flatMap(path => complaintsAboutSize(path, statSync(path).size)),
        ...paths.flatMap(path => complaintsAboutText(path, readFileSync(path, 'utf8'))),
        ...(paths.length < 100 ? [`Only ${paths.length} files were found`] : []),
      ],
      lookedAt: `${paths.length} files`,
    }
  })
}
