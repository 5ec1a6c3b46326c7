/** Codes by which SQLite and MariaDB name the same mistakes. */
const UNIQUE = ['SQLITE_CONSTRAINT_UNIQUE', 'SQLITE_CONSTRAINT_PRIMARYKEY', 'ER_DUP_ENTRY']
const REFERENCED = [
  'SQLITE_CONSTRAINT_FOREIGNKEY',
  // What SQLite says where a reference is declared with RESTRICT.
  'SQLITE_CONSTRAINT_TRIGGER',
  'ER_ROW_IS_REFERENCED_2',
  'ER_NO_REFERENCED_ROW_2',
]
const DEADLOCK = ['ER_LOCK_DEADLOCK', 'ER_LOCK_WAIT_TIMEOUT']

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

/** TypeORM wraps the driver's error and copies its code; which of both arrives differs by driver. */
function hasCode(error: unknown, codes: readonly string[]): boolean {
  if (!(error instanceof Error)) return false
  const { code, driverError } = error as { code?: unknown; driverError?: { code?: unknown } }
  return [code, driverError?.code].some(one => typeof one === 'string' && codes.includes(one))
}
