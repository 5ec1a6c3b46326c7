import { constants } from 'node:fs'
import { access, readdir, realpath } from 'node:fs/promises'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { AppError } from '@sendense/platform'

/** Below the data directory only this folder may hold repositories; the rest are the Hub's own files and keys. */
const FOLDER_IN_DATA_DIR = 'repositories'

/** What a repository that was begun, and not finished, may have left. */
const LEFT_BEHIND = /^(data|index|keys|locks|snapshots|\.sendense-tmp-.*)$/

/** Refuses a path that cannot or must not hold a repository. Looks through symbolic links. */
export async function checkRepositoryPath(
  path: string,
  { dataDir, existing, isBegun }: { dataDir: string; existing: boolean; isBegun: boolean },
): Promise<void> {
  if (resolve(path) !== path) throw invalid('must be absolute, without "..", "." and a slash at the end')
  const { ancestor, rest } = await nearestExisting(path)
  const real = join(ancestor, rest)
  const realDataDir = await realpath(dataDir)
  const isAllowedInside = isInside(real, join(realDataDir, FOLDER_IN_DATA_DIR))
  if (contains(real, realDataDir) || (contains(realDataDir, real) && !isAllowedInside)) {
    throw invalid(`must not touch the data directory of the Hub, but for its folder "${FOLDER_IN_DATA_DIR}"`)
  }
  if (!existing && rest === '') await checkEmpty(path, isBegun)
  await checkWritable(ancestor)
}

/** Refuses a folder that is there and holds something, but for what one that was begun there has left. */
export async function checkFolder(path: string, isBegun: boolean): Promise<void> {
  const { rest } = await nearestExisting(path)
  if (rest === '') await checkEmpty(path, isBegun)
}

/** Whether one folder is the other or holds it. */
export function contains(outer: string, inner: string): boolean {
  return outer === inner || isInside(inner, outer)
}

function isInside(inner: string, outer: string): boolean {
  const way = relative(outer, inner)
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`)
}

/** The part of the path that exists, links followed, and what is still to be made below it. */
async function nearestExisting(path: string): Promise<{ ancestor: string; rest: string }> {
  for (let ancestor = path; ; ancestor = dirname(ancestor)) {
    try {
      return { ancestor: await realpath(ancestor), rest: relative(ancestor, path) }
    } catch (cause) {
      const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
      if (code !== 'ENOENT' || ancestor === '/') {
        throw new AppError('repository-unavailable', { detail: `${path} cannot be reached`, cause })
      }
    }
  }
}

async function checkWritable(folder: string): Promise<void> {
  try {
    await access(folder, constants.W_OK | constants.X_OK)
  } catch (cause) {
    throw new AppError('repository-unavailable', { detail: `The Hub may not write to ${folder}`, cause })
  }
}

async function checkEmpty(path: string, isBegun: boolean): Promise<void> {
  const names = await readdir(path).catch((cause: unknown) => {
    throw invalid('is not a folder', cause)
  })
  if (names.includes('config') && names.includes('keys')) {
    throw new AppError('repository-exists', {
      detail: `There is a repository at ${path}. To use it, add it as an existing one with its password`,
    })
  }
  const isInTheWay = (name: string) => !(isBegun && LEFT_BEHIND.test(name))
  if (names.some(isInTheWay)) throw invalid('must be an empty folder, or one that does not exist yet')
}

function invalid(detail: string, cause?: unknown): AppError {
  return new AppError('request-invalid', {
    detail: `The path ${detail}`,
    errors: [{ pointer: '/body/place/path', detail }],
    cause,
  })
}
