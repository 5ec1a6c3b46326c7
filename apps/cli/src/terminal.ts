import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import { CliError } from './cli-error.ts'

/** Where the program talks to people and to pipes; injected, so that tests can listen. */
export interface Terminal {
  /** The answer itself: goes to standard output, and nothing else does. */
  print(text: string): void
  /** Remarks, progress and errors: standard error. */
  remark(text: string): void
  readonly isInteractive: boolean
  /** Asks without echo. */
  askSecret(question: string): Promise<string>
  ask(question: string): Promise<string>
  /** All of standard input, for secrets that come through a pipe. */
  readAll(): Promise<string>
}

/** The process's own streams. */
export const processTerminal: Terminal = {
  print: text => void process.stdout.write(`${text}\n`),
  remark: text => void process.stderr.write(`${text}\n`),
  isInteractive: process.stdin.isTTY === true && process.stderr.isTTY === true,
  ask: question => askOn(question, process.stderr),
  askSecret: async question => {
    process.stderr.write(question)
    const answer = await askOn('', new Writable({ write: (_chunk, _encoding, done) => done() }))
    process.stderr.write('\n')
    return answer
  },
  readAll: async () => {
    const parts: Buffer[] = []
    for await (const part of process.stdin) parts.push(part as Buffer)
    return Buffer.concat(parts)
      .toString('utf8')
      .replace(/\r?\n$/, '')
  },
}

async function askOn(question: string, output: NodeJS.WritableStream): Promise<string> {
  if (!process.stdin.isTTY)
    throw new CliError('usage', 'There is no terminal to ask on; give the value by option or pipe.')
  const reader = createInterface({ input: process.stdin, output, terminal: true })
  try {
    return await reader.question(question)
  } finally {
    reader.close()
  }
}
