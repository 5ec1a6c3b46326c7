import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { mkdir, open, readdir, readFile, realpath, rm, rmdir, statfs } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { AppError, type Logger } from '@sendense/platform'
import { CREDENTIALS_SUFFIX, mount, mountFailed, unmount } from './mount-program.ts'
import type { MountSpec } from './mount-spec.ts'
import { mountedAt } from './mount-table.ts'

interface Options {
  /** Folder whose subfolders the shares are mounted on. */
  readonly folder: string
  readonly log: Logger
}

/**
 * Shares that the Hub mounts for repositories, each on a folder of its own. What is mounted is looked up in the
 * kernel's list each time: a share that somebody took away meanwhile is an error and never an empty local folder.
 */
export class RepositoryMounts {
  readonly #options: Options
  readonly #attached = new Set<string>()

  constructor(options: Options) {
    this.#options = options
  }

  /**
   * Mounts a share unless it is there already, and returns its folder. Fails with `mount-failed`, also when something
   * else is mounted there. Whether it can be written to is another question: what is read-only or full can be read.
   */
  async attach(name: string, spec: MountSpec): Promise<string> {
    this.#attached.add(name)
    try {
      await mkdir(this.#options.folder, { recursive: true, mode: 0o700 })
      const point = await this.#pointOf(name)
      if (!(await mountedAt(point))) {
        await mkdir(point, { recursive: true, mode: 0o700 })
        await mount(spec, point)
      }
      await checkIsIt(point, spec)
      return point
    } catch (error) {
      // Logged, since why it could not be mounted matters more than why it could not be unmounted.
      await this.detach(name).catch(cause => this.#options.log.warn('A share stays mounted', { name, cause }))
      throw error
    }
  }

  /** Writes to a share that is mounted and reads it back. Fails with `mount-failed` when it cannot, or has no room. */
  async checkWritable(name: string): Promise<void> {
    const point = await this.#pointOf(name)
    const entry = await mountedAt(point)
    if (!entry) throw mountFailed({ source: name }, 'It is not mounted.')
    if (entry.options.includes('ro')) throw mountFailed(entry, READ_ONLY)
    try {
      await writeAndReadBack(point)
      if ((await statfs(point)).bavail === 0) throw mountFailed(entry, NO_SPACE)
    } catch (error) {
      throw error instanceof AppError ? error : mountFailed(entry, whyNotWritable(error), error)
    }
  }

  /** Whether the share is mounted now. */
  async isAttached(name: string): Promise<boolean> {
    return (await mountedAt(await this.#pointOf(name))) !== undefined
  }

  /** Unmounts a share if it is mounted, and takes its empty folder away. */
  async detach(name: string): Promise<void> {
    const point = await this.#pointOf(name)
    if (await mountedAt(point)) await unmount(point)
    this.#attached.delete(name)
    await rmdir(point).catch(() => undefined)
  }

  /** Takes away what a Hub that was killed has left: mounts that are none of these, and files with credentials. */
  async sweep(kept: ReadonlySet<string>): Promise<void> {
    const { folder, log } = this.#options
    for (const entry of await readdir(folder).catch(() => [])) {
      const name = basename(entry, CREDENTIALS_SUFFIX)
      if (this.#attached.has(name)) continue
      if (name !== entry) await rm(join(folder, entry), { force: true })
      else if (!kept.has(name))
        await this.detach(name).catch(error => log.warn('A share stays mounted', { name, error }))
    }
  }

  /** Unmounts what this process has mounted or found. */
  async detachAll(): Promise<void> {
    // At once: each of those that do not answer takes its time.
    const detached = [...this.#attached].map(name =>
      this.detach(name).catch(error => this.#options.log.warn('A share stays mounted', { name, error })),
    )
    await Promise.all(detached)
  }

  /** As the kernel names it: without symbolic links. */
  async #pointOf(name: string): Promise<string> {
    const { folder } = this.#options
    return join(await realpath(folder).catch(() => folder), name)
  }
}

/** It is a mount, and of the right thing. */
async function checkIsIt(point: string, spec: MountSpec): Promise<void> {
  const entry = await mountedAt(point)
  if (!entry)
    throw mountFailed(spec, `Nothing is mounted at ${point}, although the mount program was content.`)
  if (spec.listedTypes.includes(entry.type) && isSameSource(spec, entry.source)) return
  const detail = `At ${point} something else is mounted: ${entry.source} (${entry.type}). Unmount it.`
  throw mountFailed(spec, detail)
}

const READ_ONLY = 'It is read-only. Let the server allow writing.'
const NO_SPACE = 'No space is left there.'

/**
 * Kernels add or leave out slashes. Names of SMB shares have no case. An NFS server is listed by the name that it was
 * first reached by, whatever name it is mounted by later.
 */
function isSameSource({ type, source }: MountSpec, listed: string): boolean {
  const plain = (text: string) => {
    const slashed = text.replace(/\/+/g, '/').replace(/\/$/, '')
    return type === 'nfs' ? slashed.slice(slashed.indexOf(':/')) : slashed.toLowerCase()
  }
  return plain(source) === plain(listed)
}

async function writeAndReadBack(point: string): Promise<void> {
  const path = join(point, `.sendense-${randomBytes(8).toString('hex')}`)
  const content = randomBytes(32).toString('hex')
  try {
    const file = await open(path, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600)
    try {
      await file.writeFile(content)
      await file.sync()
    } finally {
      await file.close()
    }
    if ((await readFile(path, 'utf8')) !== content) throw new Error('what was read is not what was written')
  } finally {
    // Whether this is possible does not matter beside why it could not be written.
    await rm(path, { force: true }).catch(() => undefined)
  }
}

/** Also a share that the kernel lists as writable may be read-only at the server. */
function whyNotWritable(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'EROFS') return READ_ONLY
  if (code === 'ENOSPC' || code === 'EDQUOT') return NO_SPACE
  return `The Hub cannot write there: ${message}. Check the rights of its account on the server.`
}
