import type { JobId } from '@sendense/contracts'
import type { Command } from 'commander'
import { type CommandContext, show } from './command-context.ts'
import { endOfJob, requireSuccess } from './follow-job.ts'
import { formatBytes, formatFields, formatInstant } from './format.ts'

/** So many lines of a list are shown; `--json` shows all that the Hub keeps. */
const LINES_MAX = 20

/** Waits for a job and shows what it has found or done. Of one that has failed too: what it found is why. */
export async function showReport(context: CommandContext, command: Command, jobId: JobId): Promise<void> {
  const job = await endOfJob(context, command, jobId)
  const { result } = job
  if (result) show(context, command, result, () => reportText(result))
  requireSuccess(job)
}

/** What a job has found or done, for people: its numbers one a line, and then its lists. */
export function reportText({ counts, ...report }: Record<string, unknown>): string {
  const entries = Object.entries(report)
  const fields = entries.flatMap(([name, value]): [string, string][] => {
    const text = valueText(name, value)
    return text === undefined ? [] : [[wordsOf(name), text]]
  })
  const lists = entries.flatMap(([name, value]) =>
    Array.isArray(value) && value.length > 0 ? [listText(name, value, lengthOf(counts, name))] : [],
  )
  return [formatFields(fields), ...lists].filter(text => text !== '').join('\n\n')
}

function valueText(name: string, value: unknown): string | undefined {
  if (value === null || Array.isArray(value)) return undefined
  if (isAmount(value)) return `${value.packs} packs, ${formatBytes(value.bytes)}`
  if (typeof value === 'object') return undefined
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  return typeof value === 'number' && /bytes/i.test(name) ? formatBytes(value) : String(value)
}

function isAmount(value: unknown): value is { packs: number; bytes: number } {
  return typeof value === 'object' && value !== null && 'packs' in value && 'bytes' in value
}

function listText(name: string, values: readonly unknown[], length: number | undefined): string {
  const lines = values.slice(0, LINES_MAX).map(value => `  ${lineText(value)}`)
  const more = (length ?? values.length) - lines.length
  return [`${wordsOf(name)}:`, ...lines, ...(more > 0 ? [`  and ${more} more; --json shows them`] : [])].join(
    '\n',
  )
}

/** A problem in words, a restore point with its files, or what keeps packs from going. */
function lineText(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value)
  const { id, paths, by, packs, bytes, until } = value as Record<string, unknown>
  if (Array.isArray(paths))
    return `${id}: ${paths.length === 0 ? 'not even its list of files' : paths.join(', ')}`
  const date = typeof until === 'string' ? ` until ${formatInstant(until)}` : ''
  return `${packs} packs, ${formatBytes(Number(bytes))}, kept by ${String(by).replaceAll('-', ' ')}${date}`
}

function lengthOf(counts: unknown, name: string): number | undefined {
  const length = (counts as Record<string, unknown> | undefined)?.[name]
  return typeof length === 'number' ? length : undefined
}

/** `removedPackCount` is `Removed pack count`. */
function wordsOf(name: string): string {
  const words = name.replaceAll(/[A-Z]/g, letter => ` ${letter.toLowerCase()}`)
  return words.slice(0, 1).toUpperCase() + words.slice(1)
}
