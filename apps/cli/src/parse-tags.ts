import { CliError } from './cli-error.ts'

/** The labels `name=value` of a command line. */
export function parseTags(texts: readonly string[] = []): Record<string, string> {
  return Object.fromEntries(texts.map(toTag))
}

function toTag(text: string): [string, string] {
  const at = text.indexOf('=')
  if (at < 1) throw new CliError('usage', `"${text}" is no label; give name=value.`)
  return [text.slice(0, at), text.slice(at + 1)]
}
