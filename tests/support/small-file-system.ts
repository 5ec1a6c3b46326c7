import { execFile } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { promisify } from 'node:util'
import type { PrivateDir } from './private-dir.ts'

const run = promisify(execFile)

/** A file system that is soon full, until it is disposed of. */
export interface SmallFileSystem extends AsyncDisposable {
  readonly path: string
}

/** Mounts a tmpfs of that size in a private directory. That takes root, or sudo without a password. */
export async function mountSmallFileSystem(dir: PrivateDir, sizeBytes: number): Promise<SmallFileSystem> {
  const path = dir.join('small')
  await mkdir(path, { mode: 0o700 })
  await asRoot('mount', '-t', 'tmpfs', '-o', `size=${sizeBytes},mode=0777`, 'tmpfs', path)
  return { path, [Symbol.asyncDispose]: () => asRoot('umount', '--lazy', path) }
}

async function asRoot(...command: [string, ...string[]]): Promise<void> {
  const [program, ...args] = process.getuid?.() === 0 ? command : (['sudo', '-n', ...command] as const)
  await run(program, args)
}
