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

test('a repository of the first schema stands in a place afterwards, and its backups still name it', async () => {
  const { source } = database
  while (
    (await source.query('SELECT name FROM migrations ORDER BY id DESC LIMIT 1'))[0].name !== LAST_OF_FIRST
  ) {
    await source.undoLastMigration()
  }
  // By plain SQL: the entities know the tables as they are now.
  const insert = (table: string, row: object) => {
    const marks = Object.keys(row).map(() => '?')
    const text = `INSERT INTO ${table} (${Object.keys(row).join()}) VALUES (${marks.join()})`
    return source.query(text, Object.values(row))
  }
  const at = '2026-01-01 00:00:00.000'
  const repository = { name: 'main', type: 'local', path: '/srv/a b', format_id: 'f', chunk_bytes: 1 }
  await insert('repositories', { id: 'r', ...repository, sealed_password: 'sealed', created_at: at })
  await source.query('PRAGMA foreign_keys = OFF')
  const backup = {
    job_id: 'j',
    vm_id: 'v',
    vm_name: 'vm',
    repository_id: 'r',
    node_id: 'n',
    status: 'failed',
  }
  const json = { skipped_disks: '[]', reasons: '[]', bytes: '{}', tags: '{}' }
  await insert('backups', { id: 'b', ...backup, ...json, chunk_bytes: 1, is_quiesced: 0, started_at: at })
  await source.runMigrations()
  const [row] = await source.query('SELECT * FROM repositories')
  expect(row).toMatchObject({ id: 'r', sealed_password: 'sealed', is_enabled: 1, removed_at: null })
  expect(JSON.parse(row.place)).toEqual({ type: 'local', path: '/srv/a b' })
  expect(JSON.parse(row.limits)).toMatchObject({ quotaBytes: null })
  expect(row).not.toHaveProperty('path')
  expect(await source.query('SELECT repository_id FROM backups')).toEqual([{ repository_id: 'r' }])
})

const LAST_OF_FIRST = 'Backups1795392000007'
