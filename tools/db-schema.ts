import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openDatabase } from '../apps/hub/src/platform/database/index.ts'
import { SCHEMA } from '../apps/hub/src/schema.ts'

/** What this page needs of a table; TypeORM's own type has it and much more. */
interface TableInfo {
  readonly name: string
  readonly columns: readonly {
    readonly name: string
    readonly type: string
    readonly length: string
    readonly isNullable: boolean
    readonly isPrimary: boolean
    readonly isUnique: boolean
  }[]
  readonly foreignKeys: readonly {
    readonly columnNames: readonly string[]
    readonly referencedTableName: string
    readonly onDelete?: string | undefined
  }[]
  readonly indices: readonly { readonly columnNames: readonly string[]; readonly isUnique: boolean }[]
}

const CAPABILITIES = new URL('../apps/hub/src/capabilities/', import.meta.url)

/** A page with every table, as it is after all migrations. */
export async function databasePage(tablesOf: ReadonlyMap<string, readonly string[]>): Promise<string> {
  const owners = new Map([...tablesOf].flatMap(([owner, names]) => names.map(name => [name, owner] as const)))
  const tables = await migratedTables()
  return [
    '# Database',
    'Made from a database after all migrations by `make generate`. Times are UTC with milliseconds, ids are UUID v7 made by the Hub, sizes are bytes. One capability owns each table and is the only one that reads and writes it; the others ask its service.',
    ...tables.map(table => describeTable(table, owners.get(table.name))),
  ]
    .join('\n\n')
    .concat('\n')
}

/** The tables of each capability, as its entities name them. */
export async function tablesByCapability(): Promise<Map<string, string[]>> {
  const tables = new Map<string, string[]>()
  for (const capability of (await readdir(CAPABILITIES)).sort()) {
    const file = `${capability}.entities.ts`
    if (!(await readdir(new URL(capability, CAPABILITIES))).includes(file)) continue
    const module: Record<string, unknown> = await import(new URL(`${capability}/${file}`, CAPABILITIES).href)
    tables.set(capability, Object.values(module).flatMap(tableNameOf).sort())
  }
  return tables
}

function tableNameOf(exported: unknown): string[] {
  const { options } = (exported ?? {}) as { options?: { tableName?: string } }
  return options?.tableName === undefined ? [] : [options.tableName]
}

async function migratedTables(): Promise<TableInfo[]> {
  const folder = await mkdtemp(join(tmpdir(), 'sendense-schema-'))
  try {
    const { db, source } = await openDatabase(`sqlite:${join(folder, 'hub.db')}`, SCHEMA)
    const runner = source.createQueryRunner()
    const tables: TableInfo[] = await runner.getTables()
    await db.close()
    return tables
      .filter(({ name }) => name !== 'migrations' && !name.startsWith('sqlite_'))
      .sort((one, other) => (one.name < other.name ? -1 : 1))
  } finally {
    await rm(folder, { recursive: true })
  }
}

function describeTable(table: TableInfo, owner: string | undefined): string {
  const together = table.indices.filter(index => !index.isUnique).map(index => index.columnNames.join(', '))
  return [
    `## ${table.name}`,
    `Owned by ${owner ?? 'the platform'}.${together.length > 0 ? ` Indexed by ${together.sort().join('; ')}.` : ''}`,
    [
      '| column | type | |',
      '| --- | --- | --- |',
      ...table.columns.map(column => {
        const type = column.length ? `${column.type}(${column.length})` : column.type
        return `| ${column.name} | ${type} | ${notesOf(table, column)} |`
      }),
    ].join('\n'),
  ].join('\n\n')
}

function notesOf({ foreignKeys }: TableInfo, column: TableInfo['columns'][number]): string {
  const references = foreignKeys
    .filter(key => key.columnNames.includes(column.name))
    .map(key => `refers to ${key.referencedTableName}, ${(key.onDelete ?? 'NO ACTION').toLowerCase()}`)
  return [
    ...(column.isPrimary ? ['key'] : []),
    ...(column.isUnique ? ['unique'] : []),
    ...(column.isNullable ? ['may be empty'] : []),
    ...references,
  ].join(', ')
}
