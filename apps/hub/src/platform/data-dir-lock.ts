import { join } from 'node:path'
import Database from 'better-sqlite3'

/** Another Hub works with the same data directory. */
export class DataDirBusyError extends Error {
  override readonly name = 'DataDirBusyError'
}

/**
 * Makes sure that one Hub at a time works with a data directory. The lock is one of the file system, held by an open
 * SQLite transaction: it ends with the process, however that ends, so there is nothing to clean up after a crash.
 */
export function lockDataDir(dataDir: string): Disposable {
  const path = join(dataDir, 'hub.lock')
  const database = new Database(path, { timeout: 0 })
  try {
    database.exec('BEGIN EXCLUSIVE')
  } catch (cause) {
    database.close()
    throw new DataDirBusyError(`Another Hub is running with the data directory ${dataDir}`, { cause })
  }
  return { [Symbol.dispose]: () => void database.close() }
}
