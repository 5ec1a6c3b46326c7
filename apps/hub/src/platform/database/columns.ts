import type { EntitySchemaColumnOptions, ValueTransformer } from 'typeorm'

/**
 * Columns that mean the same on SQLite and MariaDB. Entities use these; migrations use `migration-columns.ts`, and a
 * test compares both. Times are `Date`, sizes are numbers up to 2^53, objects are stored as JSON.
 */
type Column = EntitySchemaColumnOptions

/** A UUID as text, made by the application. */
export const id = (more: Partial<Column> = {}): Column => ({ type: 'varchar', length: 36, ...more })
/** Short text; indexed columns must not be longer than 190. */
export const text = (length = 190, more: Partial<Column> = {}): Column => ({
  type: 'varchar',
  length,
  ...more,
})
/** Text without a limit. */
export const longText = (more: Partial<Column> = {}): Column => ({ type: 'text', ...more })
/** A moment with milliseconds. */
export const instant = (more: Partial<Column> = {}): Column => ({ type: 'datetime', precision: 3, ...more })
export const json = (more: Partial<Column> = {}): Column => ({ type: 'json', ...more })
export const bool = (more: Partial<Column> = {}): Column => ({ type: 'boolean', ...more })
export const int = (more: Partial<Column> = {}): Column => ({ type: 'int', ...more })
/** A whole number up to 2^53; MariaDB hands it out as text. */
export const bigInt = (more: Partial<Column> = {}): Column => ({
  type: 'bigint',
  transformer: toNumber,
  ...more,
})

/** The name in the table. */
export const named = (name: string, column: Column): Column => ({ ...column, name })

const toNumber: ValueTransformer = {
  to: (value: unknown) => value,
  from: (value: unknown) => (value === null || value === undefined ? value : Number(value)),
}
