import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

/** A directory that only this test can read and that is gone afterwards. */
export interface PrivateDir extends AsyncDisposable {
  readonly path: string
  /** The path of an entry in the directory. */
  join(...names: string[]): string
}

/** Makes a private directory (mode 0700) below the system's temporary directory. */
export async function makePrivateDir(name = 'test'): Promise<PrivateDir> {
  const dir = await mkdtemp(path.join(tmpdir(), `sendense-${name}-`))
  return {
    path: dir,
    join: (...names) => path.join(dir, ...names),
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true, maxRetries: 3 }),
  }
}
