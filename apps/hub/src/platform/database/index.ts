/** The database: one door, portable columns, pages, and what its errors mean. */
export * as columns from './columns.ts'
export { isReferenceViolation, isUniqueViolation } from './database-error.ts'
export { Db } from './db.ts'
export { findPage, type PageOrder } from './find-page.ts'
export { column, createTable, type NewTable } from './migration-columns.ts'
export { type OpenDatabase, openDatabase, type Schema } from './open-database.ts'
export { Settings, SettingsEntity } from './settings.ts'
