import { type DestinationStream, pino } from 'pino'

type Fields = Record<string, unknown>
type Write = (message: string, fields?: Fields) => void

/** What our code needs of a logger. Log errors as `{ error }`: name, text, code and the chain of causes are kept. */
export interface Logger {
  debug: Write
  info: Write
  warn: Write
  error: Write
  /** A logger that adds these fields to each of its lines. */
  child(fields: Fields): Logger
}

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

export interface LoggerOptions {
  product: 'hub' | 'node'
  level: LogLevel
  /** Standard output when absent. */
  destination?: DestinationStream
}

/** A logger that writes one JSON object a line. Values of secret fields never reach it, however deep they lie. */
export function createLogger({ product, level, destination }: LoggerOptions): Logger {
  const options = {
    level,
    base: { product },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  }
  return wrap(destination ? pino(options, destination) : pino(options))
}

function wrap(sink: pino.Logger): Logger {
  const write =
    (level: 'debug' | 'info' | 'warn' | 'error'): Write =>
    (message, fields) => {
      if (sink.isLevelEnabled(level)) sink[level](fields ? toLoggable(fields) : {}, message)
    }
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: fields => wrap(sink.child(toLoggable(fields) as Fields)),
  }
}

const SECRET_NAME =
  /password|passphrase|secret|token|ticket|pairingcode|authorization|cookie|credentials|privatekey|masterkey|signature/i
/** Names that speak of a secret without being one: `pairingCodeId`, `tokenExpiresAt`. */
const HARMLESS_NAME = /(Id|At|Ms|Count)$/
const DEPTH_MAX = 6

/** A copy that holds no secret and nothing that JSON cannot hold. Errors keep their chain of causes. */
function toLoggable(value: unknown, depth = 0): unknown {
  if (value instanceof Error) return describeError(value, depth)
  if (typeof value === 'bigint') return value.toString()
  if (typeof value !== 'object' || value === null || value instanceof Date) return value
  if (depth >= DEPTH_MAX) return '[deep]'
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`
  if (Array.isArray(value)) return value.map(item => toLoggable(item, depth + 1))
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [
      name,
      isSecret(name, inner) ? '[redacted]' : toLoggable(inner, depth + 1),
    ]),
  )
}

function isSecret(name: string, value: unknown): boolean {
  const isToldApart = value === null || value === undefined || typeof value === 'boolean'
  return !isToldApart && SECRET_NAME.test(name) && !HARMLESS_NAME.test(name)
}

/** Only known members: errors of HTTP clients carry whole requests, headers included. */
function describeError(error: Error, depth: number): unknown {
  const { name, message, stack, cause } = error
  const code = 'code' in error ? error.code : undefined
  return {
    name,
    message,
    ...(code !== undefined && { code }),
    stack,
    ...(cause !== undefined && { cause: depth < DEPTH_MAX ? toLoggable(cause, depth + 1) : '[deep]' }),
  }
}
