import { randomBytes } from 'node:crypto'
import { AppError } from './app-error.ts'

/** 80 random bits in base64url: the secret of a pairing code, as `EnrollRequest.pairingSecret` carries it. */
export function newPairingSecret(): string {
  return randomBytes(SECRET_BYTES).toString('base64url')
}

/**
 * Writes the secret and the fingerprint of the Hub's certificate in letters and digits that nobody mistakes for one
 * another, with two check symbols: nine groups of five.
 */
export function encodePairingCode(code: { secret: string; certificateSha256: string }): string {
  const secret = Buffer.from(code.secret, 'base64url')
  const fingerprint = Buffer.from(code.certificateSha256, 'hex').subarray(0, FINGERPRINT_BYTES)
  if (secret.length !== SECRET_BYTES || fingerprint.length !== FINGERPRINT_BYTES) {
    throw new RangeError('A pairing code is made of an 80-bit secret and a SHA-256 in hex')
  }
  const value = BigInt(`0x${Buffer.concat([secret, fingerprint]).toString('hex')}`)
  const symbols = toSymbols(value, VALUE_SYMBOLS) + toSymbols(value % CHECK_PRIME, CHECK_SYMBOLS)
  return symbols.match(/.{5}/g)?.join('-') ?? symbols
}

export interface ParsedPairingCode {
  readonly secret: string
  /** First 128 bits of the SHA-256 of the Hub's certificate, lower-case hex. */
  readonly certificateSha256Prefix: string
}

/** Reads a pairing code in whatever case and spacing it was typed; `pairing-code-invalid` if it has a mistake. */
export function parsePairingCode(text: string): ParsedPairingCode {
  const symbols = text.replaceAll(/[\s-]/g, '').toUpperCase()
  const value = toValue(symbols.slice(0, VALUE_SYMBOLS))
  const check = toValue(symbols.slice(VALUE_SYMBOLS))
  const isRight = symbols.length === VALUE_SYMBOLS + CHECK_SYMBOLS && value !== undefined
  if (!isRight || value >= VALUE_END || check !== value % CHECK_PRIME) {
    throw new AppError('pairing-code-invalid', {
      detail: 'The pairing code has a typing mistake. It consists of nine groups of five letters and digits',
    })
  }
  const hex = value.toString(16).padStart((SECRET_BYTES + FINGERPRINT_BYTES) * 2, '0')
  return {
    secret: Buffer.from(hex.slice(0, SECRET_BYTES * 2), 'hex').toString('base64url'),
    certificateSha256Prefix: hex.slice(SECRET_BYTES * 2),
  }
}

/** No 0, O, 1, I, L and U. */
const ALPHABET = '23456789ABCDEFGHJKMNPQRSTVWXYZ'
const RADIX = BigInt(ALPHABET.length)
const SECRET_BYTES = 10
const FINGERPRINT_BYTES = 16
const VALUE_END = 1n << BigInt((SECRET_BYTES + FINGERPRINT_BYTES) * 8)
/** 30^43 is the first power that holds 208 bits. */
const VALUE_SYMBOLS = 43
const CHECK_SYMBOLS = 2
/** The largest prime below 30^2. A prime notices every wrong symbol and every swap of neighbours. */
const CHECK_PRIME = 887n

function toSymbols(value: bigint, length: number): string {
  let text = ''
  for (let rest = value; text.length < length; rest /= RADIX) text = ALPHABET[Number(rest % RADIX)] + text
  return text
}

function toValue(symbols: string): bigint | undefined {
  let value = 0n
  for (const symbol of symbols) {
    const digit = ALPHABET.indexOf(symbol)
    if (digit < 0) return undefined
    value = value * RADIX + BigInt(digit)
  }
  return value
}
