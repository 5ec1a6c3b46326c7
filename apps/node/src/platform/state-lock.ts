import { spawnSync } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { AppError } from '@sendense/platform'

/**
 * Takes the lock of a state directory, so that two Nodes never share one; `conflict` when another process has it.
 *
 * The lock is flock(2) on a file. It belongs to the open file, not to a process: `flock` (util-linux) takes it
 * through the descriptor that it inherits, ends, and the lock stays with ours until we close it or die, by
 * whatever cause. So no stale lock is ever left, there is no moment in which two can believe that they won, and
 * it holds between containers that share the directory, where an abstract socket would not. Children do not
 * inherit the descriptor, because Node opens files with O_CLOEXEC.
 */
export function takeStateLock(path: string): Disposable {
  const descriptor = openSync(path, 'a', 0o600)
  const lock = { [Symbol.dispose]: () => closeSync(descriptor) }
  const { error, status, stderr } = spawnSync('flock', ['--exclusive', '--nonblock', '3'], {
    stdio: ['ignore', 'ignore', 'pipe', descriptor],
  })
  if (status === 0) return lock

  lock[Symbol.dispose]()
  if (status === HELD_BY_ANOTHER) {
    throw new AppError('conflict', { detail: `Another Node uses this state directory: ${path} is locked` })
  }
  const detail = error?.message ?? String(stderr).trim()
  throw new AppError('internal', { detail: `The lock ${path} could not be taken: ${detail}`, cause: error })
}

/** Exit status of `flock --nonblock` when the lock is taken. */
const HELD_BY_ANOTHER = 1
