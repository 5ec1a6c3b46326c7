import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import packageJson from '../package.json' with { type: 'json' }
import { API_ROOT, hubApi, nodeApi } from '../packages/contracts/src/index.ts'
import { cliReference } from './cli-reference.ts'
import { databasePage, tablesByCapability } from './db-schema.ts'
import { toOpenApi } from './openapi.ts'
import { permissionTable } from './permission-table.ts'
import { apiReference } from './reference.ts'
import { runCheck } from './run-check.ts'

/** Every document that is made from the code, by path. They are committed, so that a change of them is seen. */
export async function generatedDocuments(): Promise<Map<string, string>> {
  const { version } = packageJson
  const hub = toOpenApi(hubApi, {
    title: 'Sendense Hub',
    version,
    description:
      'Backups of VMware virtual machines. Every error is a problem (RFC 9457) with a code and a page.',
    root: API_ROOT,
  })
  const node = toOpenApi(nodeApi, {
    title: 'Sendense Node',
    version,
    description:
      'What a Node answers to operators on its own machine. It listens on the loopback address only.',
    root: API_ROOT,
  })
  const tablesOf = await tablesByCapability()
  return new Map([
    ['docs/api/openapi.json', toJson(hub)],
    ['docs/api/node-openapi.json', toJson(node)],
    ['docs/api/permissions.md', permissionTable(hubApi, API_ROOT)],
    ['docs/api/reference.md', apiReference(hubApi, { root: API_ROOT, tablesOf })],
    ['docs/api/db-schema.md', await databasePage(tablesOf)],
    ['docs/cli.md', cliReference(version)],
  ])
}

/** The documents whose committed text, as `read` gives it, is not what would be generated. */
export function staleDocuments(
  documents: Map<string, string>,
  read: (path: string) => string | undefined,
): string[] {
  return [...documents].filter(([path, text]) => read(path) !== text).map(([path]) => path)
}

function toJson(document: object): string {
  return `${JSON.stringify(document, undefined, 2)}\n`
}

function readIfThere(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined
}

if (import.meta.main) {
  const documents = await generatedDocuments()
  const stale = staleDocuments(documents, readIfThere)
  const isCheck = process.argv.includes('--check')
  if (!isCheck) {
    for (const path of stale) {
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, documents.get(path) ?? '')
      console.log(`written: ${path}`)
    }
  }
  await runCheck('generated documents', () => ({
    complaints: isCheck ? stale.map(path => `${path} is older than the code: run make generate`) : [],
    lookedAt: `${documents.size} documents`,
  }))
}
