import { ChunkBytes } from '@sendense/contracts'
import { InvalidArgumentError } from 'commander'
import type { z } from 'zod'

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  K: 1024,
  M: 1024 ** 2,
  G: 1024 ** 3,
  T: 1024 ** 4,
  P: 1024 ** 5,
}

/** `512`, `100K`, `1.5GiB`: binary units, whole bytes. */
export function parseSize(text: string): number {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)\s*([KMGTP]?)(?:i?B)?$/i.exec(text.trim()) ?? []
  const factor = UNITS[(unit ?? '?').toUpperCase()]
  if (digits === undefined || factor === undefined) {
    throw new InvalidArgumentError('Give a size such as 500MiB or 2TiB.')
  }
  return Math.round(Number(digits) * factor)
}

/** The size of a repository's chunks. */
export function parseChunkSize(text: string): z.infer<typeof ChunkBytes> {
  const parsed = ChunkBytes.safeParse(parseSize(text))
  if (parsed.success) return parsed.data
  throw new InvalidArgumentError('Give a power of two from 128KiB to 8MiB.')
}

/** A size, or `none` to take a limit away. */
export function parseLimit(text: string): number | null {
  return text === 'none' ? null : parseSize(text)
}

/** A number that is larger than 0. */
export function parseNumber(text: string): number {
  const number = Number(text)
  if (!Number.isFinite(number) || number <= 0) throw new InvalidArgumentError('Give a number larger than 0.')
  return number
}
