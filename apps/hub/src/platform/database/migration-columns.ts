import {
  type QueryRunner,
  Table,
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
  const isMysql = runner.connection.options.type !== 'better-sqlite3'
  const table = new Table({
    name,
    columns: columns.map(one => (isMysql && one.type === 'boolean' ? { ...one, type: 'tinyint' } : one)),
    // MariaDB knows unique indices only, SQLite compares constraints.
    uniques: isMysql ? [] : uniques.map(columnNames => ({ columnNames })),
    indices: [...indices, ...(isMysql ? uniques.map(columnNames => ({ columnNames, isUnique: true })) : [])],
    foreignKeys: foreignKeys.map(toForeignKey),
  })
  await runner.createTable(table)
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
