import { access, mkdir, realpath, stat } from 'node:fs/promises'
import { dirname, isAbsolute, resolve, sep } from 'node:path'
import { AppError } from '@sendense/platform'

/**
 * Turns the path that a caller asked for into an absolute one below the restore directory, or refuses.
 * Symbolic links are resolved first: a link inside the directory must not lead out of it.
 */
export async function restoreTarget(
  directory: string,
  { path, overwrite }: { path: string; overwrite: boolean },
): Promise<string> {
  if (isAbsolute(path) || path.includes('\0')) throw invalid(path)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const root = await realpath(directory)
  const target = resolve(root, path)
  if (!isBelow(root, target)) throw invalid(path)
  const parent = await existingParent(dirname(target))
  if (parent !== root && !isBelow(root, parent)) throw invalid(path)
  await mkdir(dirname(target), { recursive: true, mode: 0o700 })
  await checkTarget(target, path, overwrite)
  return target
}

async function checkTarget(target: string, path: string, overwrite: boolean): Promise<void> {
  const found = await stat(target).catch(() => undefined)
  if (!found) return
  if (!found.isFile()) throw invalid(path)
  if (!overwrite) throw new AppError('restore-target-exists', { detail: `"${path}" is there already.` })
}

/** The real path of the nearest folder that exists. */
async function existingParent(folder: string): Promise<string> {
  const exists = await access(folder).then(
    () => true,
    () => false,
  )
  return exists ? realpath(folder) : existingParent(dirname(folder))
}

function isBelow(root: string, path: string): boolean {
  return path.startsWith(root.endsWith(sep) ? root : root + sep)
}

function invalid(path: string): AppError {
  return new AppError('restore-target-invalid', {
    detail: `"${path}" is not a file below the restore directory.`,
  })
}
