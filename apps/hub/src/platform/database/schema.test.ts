import type { DataSource } from 'typeorm'
import { beforeEach, expect, test } from 'vitest'
import { testDatabases } from '../../testing/test-database.ts'

const databases = testDatabases()
let source: DataSource
beforeEach(async () => {
  ;({ source } = await databases.openSource())
})

test('after all migrations the tables are what the entities say', async () => {
  expect(source.entityMetadatas.length).toBeGreaterThan(5)
  const drift = await source.driver.createSchemaBuilder().log()
  expect(drift.upQueries.map(({ query }) => query)).toEqual([])
})

test('every migration can be undone and done again', async () => {
  const count = source.migrations.length
  expect(count).toBeGreaterThan(3)
  for (let i = 0; i < count; i++) await source.undoLastMigration()
  expect(await tableNames()).toEqual(['migrations'])
  expect(await source.runMigrations()).toHaveLength(count)
})

test('a repository of the first schema stands in a place afterwards, and its backups still name it', async () => {
  while (
    (await source.query('SELECT name FROM migrations ORDER BY id DESC LIMIT 1'))[0].name !== LAST_OF_FIRST
  ) {
    await source.undoLastMigration()
  }
  // By plain SQL: the entities know the tables as they are now.
  const runner = source.createQueryRunner()
  const insert = (table: string, row: object) => {
    const marks = Object.keys(row).map(() => '?')
    const text = `INSERT INTO ${table} (${Object.keys(row).join()}) VALUES (${marks.join()})`
    return runner.query(text, Object.values(row))
  }
  const at = '2026-01-01 00:00:00.000'
  const repository = { name: 'main', type: 'local', path: '/srv/a b', format_id: 'f', chunk_bytes: 1 }
  await insert('repositories', { id: 'r', ...repository, sealed_password: 'sealed', created_at: at })
  // Its VM and its Node are not in the database.
  await runner.query(isSqlite() ? 'PRAGMA foreign_keys = OFF' : 'SET FOREIGN_KEY_CHECKS = 0')
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
  await runner.release()
  await source.runMigrations()
  const [row] = await source.query('SELECT * FROM repositories')
  expect(row).toMatchObject({ id: 'r', sealed_password: 'sealed', is_enabled: 1, removed_at: null })
  expect(parsed(row.place)).toEqual({ type: 'local', path: '/srv/a b' })
  expect(parsed(row.limits)).toMatchObject({ quotaBytes: null })
  expect(row).not.toHaveProperty('path')
  expect(await source.query('SELECT repository_id FROM backups')).toEqual([{ repository_id: 'r' }])
})

const LAST_OF_FIRST = 'Backups1795392000007'

function isSqlite(): boolean {
  return databases.kind === 'SQLite'
}

async function tableNames(): Promise<string[]> {
  const sqlite = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
  const mariadb = 'SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE()'
  const rows: { name: string }[] = await source.query(isSqlite() ? sqlite : mariadb)
  return rows.map(({ name }) => name)
}

/** One driver parses what is JSON, the other does not. */
function parsed(value: unknown): unknown {
  return typeof value === 'string' ? JSON.parse(value) : value
}
