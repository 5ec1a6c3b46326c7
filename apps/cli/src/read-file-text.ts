import { readFile } from 'node:fs/promises'
import { CliError } from './cli-error.ts'

/** The text of a file that an option names; undefined when the option is absent. */
export function readFileText(path: string): Promise<string>
export function readFileText(path: string | undefined): Promise<string | undefined>
export async function readFileText(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined
  return readFile(path, 'utf8').catch(() => {
    throw new CliError('usage', `The file ${path} cannot be read.`)
  })
}
