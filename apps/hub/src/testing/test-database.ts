import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createConnection } from 'mysql2/promise'
import { afterAll, afterEach, inject } from 'vitest'
import type { Db } from '../platform/database/db.ts'
import { type OpenDatabase, openDatabase } from '../platform/database/open-database.ts'
import { SCHEMA } from '../schema.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** Where the tests of a project have a MariaDB; without one they use SQLite. */
    mariadbUrl?: string
  }
}

/** Databases of a test file: new empty ones, gone after each test. */
export interface TestDatabases {
  /** The project says which: `unit` runs on SQLite, `mariadb` on MariaDB. */
  readonly kind: 'SQLite' | 'MariaDB'
  open(): Promise<Db>
  /** The same, for tests that look at the schema itself. */
  openSource(): Promise<OpenDatabase>
}

interface Place extends AsyncDisposable {
  readonly url: string
}

export function testDatabases(): TestDatabases {
  const serverUrl = inject('mariadbUrl')
  return serverUrl === undefined ? onSqlite() : onMariaDb(serverUrl)
}

function onSqlite(): TestDatabases {
  const test = perTest()
  const openSource = async () => {
    const { url } = test.use(await aFile())
    const opened = await openDatabase(url, SCHEMA)
    test.defer(() => opened.db.close())
    return opened
  }
  return { kind: 'SQLite', openSource, open: async () => (await openSource()).db }
}

/** Making the tables takes MariaDB a second: where only the rows matter, they are emptied and used again. */
function onMariaDb(serverUrl: string): TestDatabases {
  const test = perTest()
  const file = new AsyncDisposableStack()
  afterAll(() => file.disposeAsync())
  const idle: OpenDatabase[] = []
  const openIn = async (stack: AsyncDisposableStack) => {
    const { url } = stack.use(await aDatabaseOf(serverUrl))
    const opened = await openDatabase(url, SCHEMA)
    stack.defer(() => opened.db.close())
    return opened
  }
  return {
    kind: 'MariaDB',
    openSource: () => openIn(test.stack),
    open: async () => {
      const opened = idle.pop() ?? (await openIn(file))
      test.defer(async () => {
        await emptyTables(opened)
        idle.push(opened)
      })
      return opened.db
    },
  }
}

/** What is to be done after each test, the last first. */
function perTest() {
  let stack = new AsyncDisposableStack()
  afterEach(async () => {
    const ending = stack
    stack = new AsyncDisposableStack()
    await ending.disposeAsync()
  })
  return {
    get stack() {
      return stack
    },
    use: <T extends AsyncDisposable>(resource: T) => stack.use(resource),
    defer: (work: () => Promise<void>) => stack.defer(work),
  }
}

async function emptyTables({ source }: OpenDatabase): Promise<void> {
  const runner = source.createQueryRunner()
  try {
    await runner.query('SET FOREIGN_KEY_CHECKS = 0')
    for (const { tableName } of source.entityMetadatas) await runner.query(`DELETE FROM \`${tableName}\``)
  } finally {
    await runner.query('SET FOREIGN_KEY_CHECKS = 1')
    await runner.release()
  }
}

async function aFile(): Promise<Place> {
  const folder = await mkdtemp(join(tmpdir(), 'sendense-db-'))
  return {
    url: `sqlite:${join(folder, 'hub.db')}`,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  }
}

async function aDatabaseOf(serverUrl: string): Promise<Place> {
  const name = `test_${randomBytes(8).toString('hex')}`
  const run = async (statement: string) => {
    const connection = await createConnection(serverUrl)
    try {
      await connection.query(statement)
    } finally {
      await connection.end()
    }
  }
  await run(`CREATE DATABASE ${name} CHARACTER SET utf8mb4`)
  return { url: `${serverUrl}/${name}`, [Symbol.asyncDispose]: () => run(`DROP DATABASE ${name}`) }
}
