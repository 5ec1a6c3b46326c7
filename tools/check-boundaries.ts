import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { cruise, type ICruiseResult, type IFlattenedRuleSet } from 'dependency-cruiser'
import configuration, { CAPABILITY_LEVELS } from '../.dependency-cruiser.mjs'
import { runCheck } from './run-check.ts'

/** An import that the layers forbid. */
export interface Violation {
  rule: string
  from: string
  to: string
}

export interface Boundaries {
  violations: Violation[]
  /** How many modules were looked at, by app and package. */
  moduleCounts: Map<string, number>
  /** Capability folders that have no level yet. */
  unknownCapabilities: string[]
}

/** Holds the imports below `root` against the rules of `.dependency-cruiser.mjs`. */
export async function checkBoundaries(root: string): Promise<Boundaries> {
  const units = ['apps', 'packages'].flatMap(folder => foldersIn(root, folder))
  const folders = units.flatMap(unit => [`${unit}/src`, `${unit}/test`]).concat('tests', 'tools')
  const { forbidden, options } = configuration
  const result = await cruise(
    folders.filter(folder => existsSync(join(root, folder))),
    { ...options, baseDir: root, validate: true, ruleSet: { forbidden } as IFlattenedRuleSet },
    options.enhancedResolveOptions,
  )
  const { modules, summary } = result.output as ICruiseResult
  const count = (unit: string) => modules.filter(module => module.source.startsWith(`${unit}/`)).length
  return {
    violations: summary.violations.map(({ rule, from, to }) => ({ rule: rule.name, from, to })),
    moduleCounts: new Map(units.map(unit => [unit, count(unit)])),
    unknownCapabilities: foldersIn(root, 'apps/hub/src/capabilities').filter(
      path => !CAPABILITY_LEVELS.flat().some(name => path.endsWith(`/${name}`)),
    ),
  }
}

/** What is wrong, one line each; nothing when the tree is clean and was really looked at. */
export function complaintsOf({ violations, moduleCounts, unknownCapabilities }: Boundaries): string[] {
  const unseen = [...moduleCounts].filter(([, count]) => count === 0)
  return [
    ...violations.map(({ rule, from, to }) => `${rule}: ${from} imports ${to}`),
    ...unseen.map(([unit]) => `${unit}: no module was looked at`),
    ...unknownCapabilities.map(path => `${path}: give it a level in .dependency-cruiser.mjs`),
    ...(moduleCounts.size === 0 ? ['no app and no package was found'] : []),
  ]
}

function foldersIn(root: string, folder: string): string[] {
  if (!existsSync(join(root, folder))) return []
  return readdirSync(join(root, folder), { withFileTypes: true })
    .filter(entry => entry.isDirectory())
    .map(entry => `${folder}/${entry.name}`)
}

if (import.meta.main) {
  await runCheck('boundaries', async () => {
    const boundaries = await checkBoundaries(process.cwd())
    const modules = [...boundaries.moduleCounts.values()].reduce((sum, count) => sum + count, 0)
    return {
      complaints: complaintsOf(boundaries),
      lookedAt: `${modules} modules of ${boundaries.moduleCounts.size} apps and packages`,
    }
  })
}
