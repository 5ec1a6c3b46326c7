/** Keeps the last lines of a text that may be endless, with secrets blotted out. */
export class BoundedLines {
  readonly #lines: string[] = []
  readonly #linesMax: number
  readonly #secrets: readonly string[]
  #unfinished = ''

  constructor({ linesMax = 200, secrets }: { linesMax?: number; secrets: readonly string[] }) {
    this.#linesMax = linesMax
    this.#secrets = secrets.filter(secret => secret !== '').flatMap(spellings)
  }

  /** Takes the next piece and returns the lines that it completed. */
  add(piece: string): string[] {
    const lines = (this.#unfinished + piece).split('\n')
    this.#unfinished = (lines.pop() ?? '').slice(-LINE_CHARACTERS_MAX)
    const completed = lines.map(line => this.#blotted(line).slice(0, LINE_CHARACTERS_MAX))
    this.#lines.push(...completed)
    this.#lines.splice(0, this.#lines.length - this.#linesMax)
    return completed
  }

  /** Everything kept, the unfinished last line included. */
  toString(): string {
    return [...this.#lines, this.#blotted(this.#unfinished)].join('\n').trim()
  }

  #blotted(line: string): string {
    return this.#secrets.reduce((text, secret) => text.replaceAll(secret, '***'), line)
  }
}

/** How a secret may appear in a message. */
function spellings(secret: string): string[] {
  return [...new Set([secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1)])]
}

const LINE_CHARACTERS_MAX = 4096
