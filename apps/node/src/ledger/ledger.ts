import { newId } from '@sendense/platform'
import { JournalFile } from './journal-file.ts'
import { JournalLine, type LedgerEntry } from './ledger-entry.ts'

/** What was wrong with a journal when it was opened. */
export interface LedgerDamage {
  tornBytes: number
  unreadableLines: number
  /** Where the file was kept as it was; null when every whole line could be read. */
  copy: string | null
}

/** One open entry, in the hands of whoever made it. */
export interface LedgerRecord<E extends LedgerEntry = LedgerEntry> {
  readonly id: string
  readonly entry: E
  /** Replaces the entry; durable when it resolves. */
  update(entry: E): Promise<void>
  /** The thing is gone. */
  close(): Promise<void>
  /** The thing could not be removed: from now on the sweeper may take it. */
  abandon(): void
}

/**
 * The list of everything that we made on a system and must not leave there. An entry is durable before its thing
 * is made and closed after the thing is gone, so whatever dies in between, the next start knows where to look.
 *
 * Entries that this process made belong to it until they are abandoned; a sweep takes only what belongs to nobody.
 */
export class Ledger implements AsyncDisposable {
  readonly damage: LedgerDamage
  readonly #journal: JournalFile
  readonly #entries: Map<string, LedgerEntry>
  readonly #owned = new Set<string>()
  #lineCount: number
  #lastWrite: Promise<unknown> = Promise.resolve()

  private constructor(
    journal: JournalFile,
    entries: Map<string, LedgerEntry>,
    { damage, lineCount }: { damage: LedgerDamage; lineCount: number },
  ) {
    this.damage = damage
    this.#journal = journal
    this.#entries = entries
    this.#lineCount = lineCount
  }

  static async open(path: string): Promise<Ledger> {
    const { journal, content } = await JournalFile.open(path)
    const { entries, unreadableLines } = replay(content.lines)
    const copy = unreadableLines > 0 ? await journal.keepCopy('damaged') : null
    const damage = { tornBytes: content.tornBytes, unreadableLines, copy }
    return new Ledger(journal, entries, { damage, lineCount: content.lines.length })
  }

  /** Writes an entry down. The thing may be made when this resolves, and not before. */
  async record<E extends LedgerEntry>(entry: E): Promise<LedgerRecord<E>> {
    const id = newId()
    this.#owned.add(id)
    try {
      await this.#set(id, entry)
    } catch (error) {
      this.#owned.delete(id)
      throw error
    }
    return this.#handle(id, entry)
  }

  /** The open entries of a kind that belong to nobody: made by an earlier process, or abandoned. */
  abandoned<K extends LedgerEntry['kind']>(kind: K): LedgerRecord<Extract<LedgerEntry, { kind: K }>>[] {
    const isOfKind = (entry: LedgerEntry): entry is Extract<LedgerEntry, { kind: K }> => entry.kind === kind
    return [...this.#entries].flatMap(([id, entry]) =>
      isOfKind(entry) && !this.#owned.has(id) ? [this.#handle(id, entry)] : [],
    )
  }

  /** Every open entry. */
  entries(): LedgerEntry[] {
    return [...this.#entries.values()]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#inTurn(() => this.#journal[Symbol.asyncDispose]())
  }

  #handle<E extends LedgerEntry>(id: string, first: E): LedgerRecord<E> {
    let entry = first
    return {
      id,
      get entry() {
        return entry
      },
      update: async next => {
        await this.#set(id, next)
        entry = next
      },
      close: () => this.#close(id),
      abandon: () => {
        this.#owned.delete(id)
      },
    }
  }

  async #set(id: string, entry: LedgerEntry): Promise<void> {
    await this.#inTurn(async () => {
      await this.#append({ op: 'set', id, entry })
      this.#entries.set(id, entry)
    })
  }

  async #close(id: string): Promise<void> {
    await this.#inTurn(async () => {
      if (!this.#entries.has(id)) return
      await this.#append({ op: 'close', id })
      this.#entries.delete(id)
      this.#owned.delete(id)
      await this.#compactIfLong()
    })
  }

  async #append(line: JournalLine): Promise<void> {
    await this.#journal.append(JSON.stringify(line))
    this.#lineCount++
  }

  async #compactIfLong(): Promise<void> {
    if (this.#lineCount < COMPACT_FROM_LINES || this.#lineCount < this.#entries.size * 4) return
    const lines = [...this.#entries].map(([id, entry]) =>
      JSON.stringify({ op: 'set', id, entry } satisfies JournalLine),
    )
    await this.#journal.replace(lines)
    this.#lineCount = lines.length
  }

  /** The journal takes one write at a time. */
  async #inTurn<T>(write: () => Promise<T>): Promise<T> {
    const result = this.#lastWrite.then(write)
    this.#lastWrite = result.catch(() => undefined)
    return result
  }
}

function replay(lines: readonly string[]): { entries: Map<string, LedgerEntry>; unreadableLines: number } {
  const entries = new Map<string, LedgerEntry>()
  let unreadableLines = 0
  for (const text of lines) {
    const line = parseLine(text)
    if (!line) unreadableLines++
    else if (line.op === 'set') entries.set(line.id, line.entry)
    else entries.delete(line.id)
  }
  return { entries, unreadableLines }
}

function parseLine(text: string): JournalLine | undefined {
  try {
    return JournalLine.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}

const COMPACT_FROM_LINES = 256
