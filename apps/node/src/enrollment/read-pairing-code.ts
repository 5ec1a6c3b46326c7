import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import { text } from 'node:stream/consumers'

/**
 * Gets the pairing code from the environment, from standard input, or from the person at the terminal. It is a
 * secret: as an argument it would stand in the process list for all to see.
 */
export async function readPairingCode({
  environment,
  input,
  output,
}: {
  environment: NodeJS.ProcessEnv
  input: NodeJS.ReadStream
  output: NodeJS.WriteStream
}): Promise<string> {
  const { SENDENSE_PAIRING_CODE: given } = environment
  if (given) return given
  if (!input.isTTY) return (await text(input)).trim()

  output.write('Pairing code (it is not shown): ')
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input, output: silent, terminal: true })
  try {
    return (await lines.question('')).trim()
  } finally {
    lines.close()
    output.write('\n')
  }
}
