import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import type { Stage } from './stage.ts'

/** Runs stock restic on the repository of a stage and returns what it printed; fails when restic does. */
export async function restic(
  { hub, repository }: Pick<Stage, 'hub' | 'repository'>,
  ...args: string[]
): Promise<string> {
  const passwordFile = hub.dir.join('restic-password')
  await writeFile(passwordFile, repository.password, { mode: 0o600 })
  const where = ['--repo', repository.path, '--password-file', passwordFile, '--no-cache']
  const { stdout } = await promisify(execFile)('restic', [...where, ...args], { maxBuffer: 64 << 20 })
  return stdout
}
