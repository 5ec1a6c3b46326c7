import { execFileSync } from 'node:child_process'
import { runCheck } from './run-check.ts'

/** Licences that ask for no more than their own text and notice: we may ship such packages under Apache-2.0. */
const SHIPPED = [
  '0BSD',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'BlueOak-1.0.0',
  'CC0-1.0',
  'ISC',
  'MIT',
  'Unlicense',
]

/** Tools that never leave the developer's machine may also be under a licence that covers only their own files. */
const DEVELOPMENT = [...SHIPPED, 'MPL-2.0', 'Python-2.0', 'CC-BY-4.0']

/** Packages whose package.json names no licence, with the one that their files do name. */
const READ_BY_HAND: Record<string, string> = {
  'pause@0.0.1': 'MIT', // In its Readme.md.
}

/** Fewer packages than this means that we looked in the wrong place. */
const PACKAGES_MIN = 50

/** A third-party package of the lock file. */
export interface LicensedPackage {
  name: string
  versions: string[]
  license: string
}

/** What is wrong with the licences of `packages`, one line each. */
export function complaintsAbout(packages: LicensedPackage[], allowed: readonly string[] = SHIPPED): string[] {
  return packages
    .map(({ name, versions, license }) => ({
      name: `${name}@${versions.join(', ')}`,
      license: READ_BY_HAND[`${name}@${versions.join(', ')}`] ?? license,
    }))
    .filter(({ license }) => !isAllowed(license, allowed))
    .map(({ name, license }) => `${name}: the licence ${license} is not on the list`)
}

/** Evaluates an SPDX expression without exceptions: `(MIT OR GPL-3.0) AND ISC`. */
export function isAllowed(expression: string, allowed: readonly string[]): boolean {
  const tokens = expression.match(/[()]|[^\s()]+/g) ?? []
  const isGood = parseAny(tokens, allowed)
  return isGood && tokens.length === 0
}

/** `a OR b`; takes what it has read off the tokens. */
function parseAny(tokens: string[], allowed: readonly string[]): boolean {
  let isGood = parseAll(tokens, allowed)
  while (tokens[0] === 'OR') {
    tokens.shift()
    isGood = parseAll(tokens, allowed) || isGood
  }
  return isGood
}

/** `a AND b`, which binds closer than OR. */
function parseAll(tokens: string[], allowed: readonly string[]): boolean {
  let isGood = parseOne(tokens, allowed)
  while (tokens[0] === 'AND') {
    tokens.shift()
    isGood = parseOne(tokens, allowed) && isGood
  }
  return isGood
}

function parseOne(tokens: string[], allowed: readonly string[]): boolean {
  const token = tokens.shift()
  if (token !== '(') return token !== undefined && allowed.includes(token)
  const isGood = parseAny(tokens, allowed)
  return tokens.shift() === ')' && isGood
}

function listPackages(kind: '--prod' | '--dev'): LicensedPackage[] {
  const output = execFileSync('pnpm', ['licenses', 'list', '--recursive', kind, '--json'], {
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  })
  return Object.values(JSON.parse(output) as Record<string, LicensedPackage[]>).flat()
}

if (import.meta.main) {
  await runCheck('licences', () => {
    const shipped = listPackages('--prod')
    const development = listPackages('--dev')
    return {
      complaints: [
        ...complaintsAbout(shipped),
        ...complaintsAbout(development, DEVELOPMENT),
        ...[shipped, development]
          .filter(list => list.length < PACKAGES_MIN)
          .map(list => `Only ${list.length} packages were found; at least ${PACKAGES_MIN} were expected`),
      ],
      lookedAt: `${shipped.length} shipped packages, ${development.length} for development`,
    }
  })
}
