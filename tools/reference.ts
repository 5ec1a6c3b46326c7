import { existsSync } from 'node:fs'
import { PROBLEMS } from '../packages/contracts/src/problem.ts'
import type { ApiMap, Route } from '../packages/contracts/src/route.ts'

const CAPABILITIES = 'apps/hub/src/capabilities'

/** A page with every endpoint: who may call it, what it takes and gives, how it can fail, and where it is handled. */
export function apiReference(
  api: ApiMap,
  { root, tablesOf }: { root: string; tablesOf: ReadonlyMap<string, readonly string[]> },
): string {
  return [
    '# API reference',
    `Made from the contract by \`make generate\`. All paths are below the address of the Hub; schemas by these names stand in [openapi.json](openapi.json), which a running Hub shows at \`/api/docs\`. Every endpoint may also answer \`request-invalid\` and \`internal\`, and every one with a permission \`unauthenticated\`, \`forbidden\` and \`password-change-required\`.`,
    ...Object.entries(api).flatMap(([capability, routes]) => [
      `## ${capability}`,
      handledBy(capability, tablesOf.get(capability) ?? []),
      ...Object.entries(routes).map(([name, route]) => describeRoute(name, route, root)),
    ]),
  ]
    .join('\n\n')
    .concat('\n')
}

function handledBy(capability: string, tables: readonly string[]): string {
  const file = `${CAPABILITIES}/${capability}/${capability}.routes.ts`
  if (!existsSync(new URL(`../${file}`, import.meta.url))) throw new Error(`${file} does not exist`)
  const owned = tables.length === 0 ? '' : ` Tables: ${tables.map(code).join(', ')}.`
  return `Handled by [${capability}.routes.ts](../../${file}).${owned}`
}

function describeRoute(name: string, route: Route, root: string): string {
  const { method, path, summary, description, permission, problems = [] } = route
  return [
    `### ${method.toUpperCase()} ${root}${path}`,
    `${[summary, description].filter(Boolean).join('. ').replace(/\.?$/, '.')}`,
    [
      `- operation: ${code(name)}`,
      `- permission: ${permission === 'public' ? 'none, anybody may call it' : code(permission)}`,
      ...partsOf(route),
      `- answer: ${answerOf(route)}`,
      ...problems.map(one => `- problem: [${one}](../problems/${one}.md) (${PROBLEMS[one].status})`),
    ].join('\n'),
  ].join('\n\n')
}

function partsOf({ query, body }: Route): string[] {
  const fields = Object.keys(query?.shape ?? {})
  return [
    ...(fields.length > 0 ? [`- query: ${fields.map(code).join(', ')}`] : []),
    ...(body ? [`- body: ${code(body.meta()?.id ?? 'object')}`] : []),
  ]
}

function answerOf({ status, response, events }: Route): string {
  const schema = events ?? response
  const number = status ?? (schema ? 200 : 204)
  if (!schema) return `${number}, empty`
  const name = code(schema.meta()?.id ?? 'object')
  return events ? `${number}, a stream of events, each a ${name}` : `${number}, ${name}`
}

function code(text: string): string {
  return `\`${text}\``
}
