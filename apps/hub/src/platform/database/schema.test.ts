import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { SCHEMA } from '../../schema.ts'
import { type OpenDatabase, openDatabase } from './open-database.ts'

let folder: string
let database: OpenDatabase
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sendense-schema-'))
  database = await openDatabase(`sqlite:${join(folder, 'hub.db')}`, SCHEMA)
})
afterEach(async () => {
  await database.db.close()
  await rm(folder, { recursive: true })
})

test('after all migrations the tables are what the entities say', async () => {
  expect(database.source.entityMetadatas.length).toBeGreaterThan(5)
  const drift = await database.source.driver.createSchemaBuilder().log()
  expect(drift.upQueries.map(({ query }) => query)).toEqual([])
})

test('every migration can be undone and done again', async () => {
  const count = database.source.migrations.length
  expect(count).toBeGreaterThan(3)
  for (let i = 0; i < count; i++) await database.source.undoLastMigration()
  const runner = database.source.createQueryRunner()
  const tables = await runner.getTables()
  await runner.release()
  expect(tables.map(table => table.name).filter(name => !name.startsWith('sqlite_'))).toEqual(['migrations'])
  expect(await database.source.runMigrations()).toHaveLength(count)
})
