import { AppError } from '@sendense/platform'

/** Codes by which SQLite and MariaDB name the same mistakes. */
const UNIQUE = ['SQLITE_CONSTRAINT_UNIQUE', 'SQLITE_CONSTRAINT_PRIMARYKEY', 'ER_DUP_ENTRY']
const REFERENCED = [
  'SQLITE_CONSTRAINT_FOREIGNKEY',
  // What SQLite says where a reference is declared with RESTRICT.
  'SQLITE_CONSTRAINT_TRIGGER',
  'ER_ROW_IS_REFERENCED_2',
  'ER_NO_REFERENCED_ROW_2',
]
const LOST = ['PROTOCOL_CONNECTION_LOST', 'ECONNRESET', 'EPIPE', 'ER_SERVER_SHUTDOWN', 'ER_CONNECTION_KILLED']
const DEADLOCK = ['ER_LOCK_DEADLOCK', 'ER_LOCK_WAIT_TIMEOUT']

/** The server is not there, or has no place for us; or the disk of the file is full, read-only or broken. */
const UNAVAILABLE =
  /^(ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|PROTOCOL_.*|ER_SERVER_SHUTDOWN|ER_NORMAL_SHUTDOWN|ER_CONNECTION_KILLED|ER_CON_COUNT_ERROR|ER_TOO_MANY_USER_CONNECTIONS|ER_DISK_FULL|ER_RECORD_FILE_FULL|ER_OPTION_PREVENTS_STATEMENT|SQLITE_(FULL|READONLY|CANTOPEN|IOERR|CORRUPT|NOTADB)(_.*)?)$/

/** Another row has the same value in a unique column already. */
export function isUniqueViolation(error: unknown): boolean {
  return hasCode(error, UNIQUE)
}

/** Another row refers to this one, or the one that this refers to is not there. */
export function isReferenceViolation(error: unknown): boolean {
  return hasCode(error, REFERENCED)
}

/** The database chose this transaction to fail so that others can go on: the same one may succeed now. */
export function isDeadlock(error: unknown): boolean {
  return hasCode(error, DEADLOCK)
}

/** An error of the driver in the words of the contract, where it says that the database cannot be used. */
export function fromDriver(error: unknown): unknown {
  const code = codesOf(error).find(one => UNAVAILABLE.test(one))
  if (code === undefined && !isFatal(error)) return error
  const detail =
    code === undefined ? 'The connection to the database was lost.' : `The database says ${code}.`
  return new AppError('database-unavailable', { detail, cause: error })
}

/** The server has closed the connection, perhaps long ago: another one may be good. */
export function isConnectionLost(error: unknown): boolean {
  return hasCode(error, LOST) || (isFatal(error) && codesOf(error).length === 0)
}

/** What mysql2 says of each error after which the connection is of no use; some of those have no code. */
function isFatal(error: unknown): boolean {
  const { fatal, driverError } = (error ?? {}) as { fatal?: unknown; driverError?: { fatal?: unknown } }
  return fatal === true || driverError?.fatal === true
}

/** TypeORM wraps the driver's error and copies its code; which of both arrives differs by driver. */
function codesOf(error: unknown): string[] {
  // One of ours has a code too, and has been told already.
  if (!(error instanceof Error) || error instanceof AppError) return []
  const { code, driverError } = error as { code?: unknown; driverError?: { code?: unknown } }
  return [code, driverError?.code].filter(one => typeof one === 'string')
}

function hasCode(error: unknown, codes: readonly string[]): boolean {
  return codesOf(error).some(one => codes.includes(one))
}
