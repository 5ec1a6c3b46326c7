import fc from 'fast-check'
import { expect, test } from 'vitest'
import { encodePairingCode, newPairingSecret, parsePairingCode } from './pairing-code.ts'

const hex = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map(bytes => Buffer.from(bytes).toString('hex'))
const anyCode = fc.tuple(hex(10), hex(32)).map(([secret, certificateSha256]) => ({
  secret: Buffer.from(secret, 'hex').toString('base64url'),
  certificateSha256,
}))

test('a code reads back as what it was made of', () => {
  fc.assert(
    fc.property(anyCode, code => {
      const text = encodePairingCode(code)
      expect(text).toMatch(/^([2-9A-HJKMNP-TV-Z]{5}-){8}[2-9A-HJKMNP-TV-Z]{5}$/)
      expect(parsePairingCode(text)).toEqual({
        secret: code.secret,
        certificateSha256Prefix: code.certificateSha256.slice(0, 32),
      })
    }),
  )
})

test('case, spaces and dashes do not matter', () => {
  const secret = newPairingSecret()
  const text = encodePairingCode({ secret, certificateSha256: 'ab'.repeat(32) })
  expect(parsePairingCode(` ${text.toLowerCase().replaceAll('-', ' ')}\n`).secret).toBe(secret)
})

test('every single wrong symbol and every swap of neighbours is noticed', () => {
  fc.assert(
    fc.property(
      anyCode,
      fc.nat(44),
      fc.constantFrom(...'23456789ABCDEFGHJKMNPQRSTVWXYZ'),
      (code, at, symbol) => {
        const symbols = [...encodePairingCode(code).replaceAll('-', '')]
        const wrong = symbols.with(at, symbol).join('')
        if (wrong !== symbols.join('')) expect(() => parsePairingCode(wrong)).toThrow('typing mistake')
        const [a = '', b = ''] = symbols.slice(at, at + 2)
        if (at < 42 && a !== b) {
          const swapped = symbols
            .with(at, b)
            .with(at + 1, a)
            .join('')
          expect(() => parsePairingCode(swapped)).toThrow('typing mistake')
        }
      },
    ),
    { numRuns: 300 },
  )
})

test.each(['', 'HELLO', '0OIL1-00000', 'Z'.repeat(45), '2'.repeat(46)])('%j is refused', text => {
  expect(() => parsePairingCode(text)).toThrow(expect.objectContaining({ code: 'pairing-code-invalid' }))
})
