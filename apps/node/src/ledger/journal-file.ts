import { copyFile, type FileHandle, open, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { writeFileAtomic } from '@sendense/platform'

/** What was found in a journal when it was opened. */
export interface JournalContent {
  /** Whole lines, in order. */
  lines: readonly string[]
  /** Bytes of a last line that a crash cut off. They are gone: whatever they announced was never made. */
  tornBytes: number
}

/**
 * A file of lines that grows at its end and is durable line by line. Not for concurrent use: the caller waits for
 * each call before the next.
 */
export class JournalFile implements AsyncDisposable {
  readonly #path: string
  #file: FileHandle
  #sizeBytes: number

  private constructor(path: string, file: FileHandle, sizeBytes: number) {
    this.#path = path
    this.#file = file
    this.#sizeBytes = sizeBytes
  }

  /** Opens or makes the file, and cuts off a torn last line. */
  static async open(path: string): Promise<{ journal: JournalFile; content: JournalContent }> {
    const file = await open(path, 'a', 0o600)
    await syncDirectory(dirname(path))
    const bytes = await readFile(path)
    const soundBytes = bytes.lastIndexOf(NEW_LINE) + 1
    const journal = new JournalFile(path, file, soundBytes)
    const tornBytes = bytes.length - soundBytes
    if (tornBytes > 0) await journal.#cutBack()
    const lines = bytes.toString('utf8', 0, soundBytes).split('\n').slice(0, -1)
    return { journal, content: { lines, tornBytes } }
  }

  /** Resolves when the line is on the disk. After a failure the file is as it was before. */
  async append(line: string): Promise<void> {
    const bytes = Buffer.from(`${line}\n`)
    try {
      await this.#file.appendFile(bytes)
      await this.#file.datasync()
    } catch (error) {
      await this.#cutBack()
      throw error
    }
    this.#sizeBytes += bytes.length
  }

  /** Replaces all lines at once: after a crash the file holds the old ones or the new ones. */
  async replace(lines: readonly string[]): Promise<void> {
    const text = lines.map(line => `${line}\n`).join('')
    await writeFileAtomic(this.#path, text, { mode: 0o600 })
    const renewed = await open(this.#path, 'a', 0o600)
    await this.#file.close()
    this.#file = renewed
    this.#sizeBytes = Buffer.byteLength(text)
  }

  /** Keeps the file as it is under another name, for people to look at. */
  async keepCopy(suffix: string): Promise<string> {
    const copy = `${this.#path}.${suffix}`
    await copyFile(this.#path, copy)
    return copy
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close()
  }

  /** Without this, the next line would be glued to half a line and be lost with it. */
  async #cutBack(): Promise<void> {
    await this.#file.truncate(this.#sizeBytes)
    await this.#file.datasync()
  }
}

/** Makes the name of a new file durable. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

const NEW_LINE = 0x0a
