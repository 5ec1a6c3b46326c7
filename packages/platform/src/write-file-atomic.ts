import { open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { newId } from './new-id.ts'

/**
 * Replaces a file as a whole: after a crash it holds the old content or the new, never a part. When the promise
 * resolves, the content and the name are on the disk.
 */
export async function writeFileAtomic(
  path: string,
  data: string | Uint8Array,
  { mode = 0o600 }: { mode?: number } = {},
): Promise<void> {
  const folder = dirname(path)
  const temporaryPath = join(folder, `.${basename(path)}.${newId()}.tmp`)
  try {
    await writeAndSync(temporaryPath, data, mode)
    await rename(temporaryPath, path)
  } catch (error) {
    await rm(temporaryPath, { force: true })
    throw error
  }
  await syncFolder(folder)
}

async function writeAndSync(path: string, data: string | Uint8Array, mode: number): Promise<void> {
  await using file = await open(path, 'wx', mode)
  await file.writeFile(data)
  await file.sync()
}

/** Without it the new name may be lost with the power. */
async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, 'r')
  await folder.sync()
}
