import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { runCheck } from './run-check.ts'

/** `[text](target)`, without targets of the web and of the same page. */
const LINK = /\]\((?!https?:|mailto:|#)([^)\s#]+)/g

/** A path of this repository in code quotes: `crates/nbd`. Patterns and placeholders are left out. */
const QUOTED_PATH = /`((?:apps|packages|crates|docs|infra|tools|tests)\/[\w./-]*)`/g

/** Paths that exist only after a build. */
const BUILT = ['packages/engine/native']

/** Every file that a document links to or names must be there, or the document is older than the tree. */
export function complaintsAbout(path: string, text: string, exists: (path: string) => boolean): string[] {
  return namedPaths(path, text)
    .filter(target => !BUILT.some(built => target.startsWith(built)) && !exists(target))
    .map(target => `${path}: ${target} does not exist`)
}

/** The paths that a document names, from the root of the repository. */
export function namedPaths(path: string, text: string): string[] {
  const prose = text.replaceAll(/^```.*?^```/gms, '')
  const links = [...prose.matchAll(LINK)].map(([, target]) => join(dirname(path), decodeURI(target ?? '')))
  const quoted = [...prose.matchAll(QUOTED_PATH)].map(([, target]) => target ?? '')
  return [...new Set([...links, ...quoted])]
}

if (import.meta.main) {
  await runCheck('links', () => {
    const list = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'], {
      encoding: 'utf8',
    })
    const documents = list
      .split('\n')
      .filter(path => path !== '' && existsSync(path))
      .map(path => ({ path, text: readFileSync(path, 'utf8') }))
    const seen = documents.reduce((sum, { path, text }) => sum + namedPaths(path, text).length, 0)
    return {
      complaints: [
        ...documents.flatMap(({ path, text }) => complaintsAbout(path, text, existsSync)),
        ...(seen === 0 ? ['No document names a path'] : []),
      ],
      lookedAt: `${seen} paths in ${documents.length} documents`,
    }
  })
}
