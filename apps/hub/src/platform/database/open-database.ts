import { DataSource, type DataSourceOptions, type EntitySchema, type MixedList } from 'typeorm'
import { Db } from './db.ts'

export interface Schema {
  readonly entities: MixedList<EntitySchema>
  // TypeORM's own type for a list of migration classes.
  readonly migrations: NonNullable<DataSourceOptions['migrations']>
}

export interface OpenDatabase {
  readonly db: Db
  /** For tests that look at the schema itself. */
  readonly source: DataSource
}

/** Opens the database, and brings its schema up to date. */
export async function openDatabase(url: string, schema: Schema): Promise<OpenDatabase> {
  const source = await new DataSource(optionsOf(url, schema)).initialize()
  try {
    await source.runMigrations()
    return { db: new Db(source, await readerOf(source, url, schema)), source }
  } catch (error) {
    await source.destroy()
    throw error
  }
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
        poolSize: 10,
      }
}

function isSqlite(url: string): boolean {
  return url.startsWith('sqlite:')
}
