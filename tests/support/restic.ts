import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import type { HubProcess } from './hub-process.ts'

/** What stock restic needs to open a repository. */
export interface ResticRepository {
  /** A folder, or an address as restic writes it. */
  readonly path: string
  readonly password: string
  /** Environment variables, such as the keys of a bucket. */
  readonly env?: Readonly<Record<string, string>>
}

/** Runs stock restic on a repository and returns what it printed; fails when restic does. */
export async function restic(
  { hub, repository }: { readonly hub: Pick<HubProcess, 'dir'>; readonly repository: ResticRepository },
  ...args: string[]
): Promise<string> {
  const passwordFile = hub.dir.join('restic-password')
  await writeFile(passwordFile, repository.password, { mode: 0o600 })
  const where = ['--repo', repository.path, '--password-file', passwordFile, '--no-cache']
  const env = { ...process.env, ...repository.env }
  const { stdout } = await promisify(execFile)('restic', [...where, ...args], { env, maxBuffer: 64 << 20 })
  return stdout
}
