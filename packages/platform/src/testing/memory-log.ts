import type { Logger } from '../logger.ts'

export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly message: string
  readonly fields: Record<string, unknown>
}

/** A logger that keeps its lines for a test to look at. */
export function memoryLog(): Logger & { readonly lines: readonly LogLine[] } {
  const lines: LogLine[] = []
  return { ...writer(lines, {}), lines }
}

function writer(lines: LogLine[], bound: Record<string, unknown>): Logger {
  const write =
    (level: LogLine['level']) =>
    (message: string, fields: Record<string, unknown> = {}) => {
      lines.push({ level, message, fields: { ...bound, ...fields } })
    }
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: fields => writer(lines, { ...bound, ...fields }),
  }
}
