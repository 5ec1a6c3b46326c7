import { readFile } from 'node:fs/promises'
import type { z } from 'zod'

/** Reads a JSON file of ours; nothing when there is none. A file that is not what it should be is an error. */
export async function readJsonFile<T extends z.ZodType>(
  path: string,
  schema: T,
): Promise<z.output<T> | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  try {
    return schema.parse(JSON.parse(text))
  } catch {
    // The cause is left out: parsers quote what they read, and some of these files hold keys.
    throw new Error(`${path} is damaged`)
  }
}
