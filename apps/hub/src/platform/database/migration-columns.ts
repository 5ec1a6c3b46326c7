import {
  type QueryRunner,
  Table,
  TableColumn,
  type TableColumnOptions,
  type TableForeignKeyOptions,
  type TableIndexOptions,
} from 'typeorm'

type More = Partial<TableColumnOptions>

/** Columns for migrations; the counterparts of `columns.ts`. */
export const column = {
  id: (name = 'id', more: More = {}): TableColumnOptions => ({
    name,
    type: 'varchar',
    length: '36',
    ...more,
  }),
  text: (name: string, length = 190, more: More = {}): TableColumnOptions => ({
    name,
    type: 'varchar',
    length: String(length),
    ...more,
  }),
  longText: (name: string, more: More = {}): TableColumnOptions => ({ name, type: 'text', ...more }),
  instant: (name: string, more: More = {}): TableColumnOptions => ({
    name,
    type: 'datetime',
    precision: 3,
    ...more,
  }),
  json: (name: string, more: More = {}): TableColumnOptions => ({ name, type: 'json', ...more }),
  int: (name: string, more: More = {}): TableColumnOptions => ({ name, type: 'integer', ...more }),
  bigInt: (name: string, more: More = {}): TableColumnOptions => ({ name, type: 'bigint', ...more }),
  bool: (name: string, more: More = {}): TableColumnOptions => ({ name, type: 'boolean', ...more }),
}

export interface NewTable {
  readonly name: string
  readonly columns: TableColumnOptions[]
  /** Groups of columns that are unique together. */
  readonly uniques?: readonly string[][]
  readonly indices?: TableIndexOptions[]
  readonly foreignKeys?: readonly { column: string; table: string; onDelete?: 'CASCADE' | 'RESTRICT' }[]
}

/** Makes a table that is the same on SQLite and MariaDB as far as TypeORM can see. */
export async function createTable(
  runner: QueryRunner,
  { name, columns, uniques = [], indices = [], foreignKeys = [] }: NewTable,
): Promise<void> {
  const isMysql = isMysqlOf(runner)
  const table = new Table({
    name,
    columns: columns.map(one => fitting(runner, one)),
    // MariaDB knows unique indices only, SQLite compares constraints.
    uniques: isMysql ? [] : uniques.map(columnNames => ({ columnNames })),
    indices: [...indices, ...(isMysql ? uniques.map(columnNames => ({ columnNames, isUnique: true })) : [])],
    foreignKeys: foreignKeys.map(toForeignKey),
  })
  await runner.createTable(table)
}

/** Adds columns to a table that may hold rows: they must be nullable, or have a default. */
export async function addColumns(
  runner: QueryRunner,
  table: string,
  columns: readonly TableColumnOptions[],
): Promise<void> {
  await runner.addColumns(
    table,
    columns.map(one => new TableColumn(fitting(runner, one))),
  )
}

/** Makes columns that are filled by now obligatory. */
export async function requireColumns(
  runner: QueryRunner,
  table: string,
  columns: readonly TableColumnOptions[],
): Promise<void> {
  for (const one of columns) {
    await runner.changeColumn(
      table,
      one.name,
      new TableColumn({ ...fitting(runner, one), isNullable: false }),
    )
  }
}

function isMysqlOf(runner: QueryRunner): boolean {
  return runner.connection.options.type !== 'better-sqlite3'
}

/** What MariaDB calls a boolean. */
function fitting(runner: QueryRunner, one: TableColumnOptions): TableColumnOptions {
  return isMysqlOf(runner) && one.type === 'boolean' ? { ...one, type: 'tinyint' } : one
}

/** Without `onUpdate` MariaDB answers RESTRICT, and the schema would seem to differ for ever. */
function toForeignKey({
  column: name,
  table,
  onDelete = 'RESTRICT',
}: {
  column: string
  table: string
  onDelete?: 'CASCADE' | 'RESTRICT'
}): TableForeignKeyOptions {
  return {
    columnNames: [name],
    referencedTableName: table,
    referencedColumnNames: ['id'],
    onDelete,
    onUpdate: 'NO ACTION',
  }
}
