import { chmod, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { CliError } from './cli-error.ts'

const Session = z.object({
  url: z.string(),
  /** The Hub's certificate: the only one that is trusted for this session. */
  certificatePem: z.string(),
  token: z.string(),
  expiresAt: z.string(),
  username: z.string(),
})
/** What a login leaves behind for the commands after it. */
export type Session = z.output<typeof Session>

/** Where the session lives: `$SENDENSE_SESSION_FILE`, or the user's configuration directory. */
export function sessionPath(env: NodeJS.ProcessEnv = process.env): string {
  if (env.SENDENSE_SESSION_FILE) return env.SENDENSE_SESSION_FILE
  return join(env.XDG_CONFIG_HOME ?? join(homedir(), '.config'), 'sendense', 'session.json')
}

/** Reads the session, or tells the person to log in. */
export async function readSession(path = sessionPath()): Promise<Session> {
  const text = await readFile(path, 'utf8').catch(() => undefined)
  const parsed = text === undefined ? undefined : Session.safeParse(JSON.parse(text))
  if (!parsed?.success) throw new CliError('not-logged-in', 'Nobody is logged in. Run: sendense login')
  return parsed.data
}

/** Writes the session so that only its owner can read it: it holds a bearer token. */
export async function writeSession(session: Session, path = sessionPath()): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const partial = `${path}.${process.pid}`
  await writeFile(partial, JSON.stringify(session, null, 2), { mode: 0o600 })
  await chmod(partial, 0o600)
  await rename(partial, path)
}

/** Forgets the session. */
export async function removeSession(path = sessionPath()): Promise<void> {
  await rm(path, { force: true })
}
