import { DataSource, type DataSourceOptions, type EntitySchema, type MixedList } from 'typeorm'
import { Db, POOL_SIZE } from './db.ts'

export interface Schema {
  readonly entities: MixedList<EntitySchema>
  // TypeORM's own type for a list of migration classes.
  readonly migrations: NonNullable<DataSourceOptions['migrations']>
}

/** As SQLite compares. */
const COLLATION = 'utf8mb4_bin'

export interface OpenDatabase {
  readonly db: Db
  /** For tests that look at the schema itself. */
  readonly source: DataSource
}

/** Opens the database, and brings its schema up to date. */
export async function openDatabase(url: string, schema: Schema): Promise<OpenDatabase> {
  const source = await new DataSource(optionsOf(url, schema)).initialize()
  try {
    if (!isSqlite(url)) await compareExactly(source)
    await source.runMigrations()
    return { db: new Db(source, await readerOf(source, url, schema)), source }
  } catch (error) {
    await source.destroy()
    throw error
  }
}

/**
 * SQLite tells capitals from small letters, MariaDB by its usual collations does not: names that are different on one
 * would be the same on the other. New tables take the collation of the database.
 */
async function compareExactly(source: DataSource): Promise<void> {
  const [now]: { collation: string; name: string }[] = await source.query(
    'SELECT @@collation_database AS collation, DATABASE() AS name',
  )
  if (!now || now.collation === COLLATION) return
  const change = `ALTER DATABASE \`${now.name.replaceAll('`', '``')}\` CHARACTER SET utf8mb4 COLLATE ${COLLATION}`
  await source.query(change).catch((cause: unknown) => {
    throw new Error(`The database has another collation and cannot be changed. Run once: ${change}`, {
      cause,
    })
  })
}

/** On SQLite a second connection, so that nobody sees what an open transaction has not committed. */
async function readerOf(writer: DataSource, url: string, schema: Schema): Promise<DataSource> {
  if (!isSqlite(url)) return writer
  return new DataSource({ ...optionsOf(url, schema), migrations: [] }).initialize()
}

function optionsOf(url: string, { entities, migrations }: Schema): DataSourceOptions {
  const common = { entities, migrations, migrationsTransactionMode: 'each', synchronize: false } as const
  return isSqlite(url)
    ? {
        ...common,
        type: 'better-sqlite3',
        database: url.slice('sqlite:'.length),
        enableWAL: true,
        prepareDatabase: (database: { pragma(text: string): unknown }) => {
          database.pragma('busy_timeout = 5000')
          // A job that was told to have ended must have ended after a power cut too.
          database.pragma('synchronous = FULL')
        },
      }
    : {
        ...common,
        type: 'mariadb',
        // Both go by mysql2, which does not know the scheme `mariadb`.
        url: url.replace(/^mariadb:/, 'mysql:'),
        charset: 'utf8mb4',
        timezone: 'Z',
        supportBigNumbers: true,
        poolSize: POOL_SIZE,
      }
}

function isSqlite(url: string): boolean {
  return url.startsWith('sqlite:')
}
