import { randomBytes } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { writeFileAtomic } from '@sendense/platform'
import type { Settings } from '../database/index.ts'
import { SecretBox } from './secret-box.ts'

const FINGERPRINT_SETTING = 'master-key-fingerprint'

/** The master key is missing, readable by others, or not the one of this database. */
export class MasterKeyError extends Error {
  override readonly name = 'MasterKeyError'
}

/**
 * Opens the key that the secrets of the database are sealed with. A key is made only for a database that has never
 * had one: making another for a database with secrets would lose them without a word.
 */
export async function openMasterKey(dataDir: string, settings: Settings): Promise<SecretBox> {
  const path = join(dataDir, 'master.key')
  const expected = await settings.get(FINGERPRINT_SETTING)
  const key = await readKey(path)
  if (key) {
    const box = new SecretBox(key)
    if (expected === undefined) await settings.set(FINGERPRINT_SETTING, box.fingerprint)
    else if (expected !== box.fingerprint) throw wrongKey(path)
    return box
  }
  if (expected !== undefined) throw missingKey(path)
  return makeKey(path, settings)
}

async function readKey(path: string): Promise<Buffer | undefined> {
  const mode = await stat(path).then(
    ({ mode }) => mode,
    () => undefined,
  )
  if (mode === undefined) return undefined
  if ((mode & 0o077) !== 0) {
    throw new MasterKeyError(`Others can read the master key ${path}. Set its mode to 0600`)
  }
  const key = Buffer.from((await readFile(path, 'utf8')).trim(), 'hex')
  if (key.length !== 32)
    throw new MasterKeyError(`The master key ${path} is damaged: it must be 64 hex digits`)
  return key
}

/** Written before the database knows of it: a crash in between leaves a key that the next start takes. */
async function makeKey(path: string, settings: Settings): Promise<SecretBox> {
  const key = randomBytes(32)
  await writeFileAtomic(path, `${key.toString('hex')}\n`, { mode: 0o600 })
  const box = new SecretBox(key)
  await settings.set(FINGERPRINT_SETTING, box.fingerprint)
  return box
}

function missingKey(path: string): MasterKeyError {
  return new MasterKeyError(
    `The master key ${path} is missing, but the database has secrets that are sealed with it. Put the key back from your copy`,
  )
}

function wrongKey(path: string): MasterKeyError {
  return new MasterKeyError(
    `The master key ${path} is not the one that the secrets of the database are sealed with. Put the right key back from your copy`,
  )
}
