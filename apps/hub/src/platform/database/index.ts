/** The database: one door, portable columns, pages, and what its errors mean. */
export * as columns from './columns.ts'
export { isReferenceViolation, isUniqueViolation } from './database-error.ts'
export { Db } from './db.ts'
export { findPage } from './find-page.ts'
export { addColumns, column, createTable, requireColumns } from './migration-columns.ts'
export { openDatabase, type Schema } from './open-database.ts'
export { Settings, SettingsEntity } from './settings.ts'
