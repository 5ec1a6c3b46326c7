/** Tells the story of the demo on the terminal, each step with the time that it took. */
export class Teller {
  readonly #startedAt = performance.now()
  readonly #write: (text: string) => void

  constructor(write: (text: string) => void) {
    this.#write = write
  }

  /** Does one step and tells what came of it. */
  async step<T>(
    title: string,
    action: () => Promise<T>,
    toText: (result: T) => string = () => '',
  ): Promise<T> {
    this.#write(`  ${title} … `)
    const startedAt = performance.now()
    try {
      const result = await action()
      const text = toText(result)
      this.#write(
        `${secondsSince(startedAt)}${text === '' ? '' : `\n      ${text.replaceAll('\n', '\n      ')}`}\n`,
      )
      return result
    } catch (error) {
      this.#write('failed\n')
      throw error
    }
  }

  say(text = ''): void {
    this.#write(`${text}\n`)
  }

  /** How long everything took. */
  get elapsed(): string {
    return secondsSince(this.#startedAt)
  }
}

function secondsSince(startedAt: number): string {
  return `${((performance.now() - startedAt) / 1000).toFixed(1)} s`
}
