import { expect, test } from 'vitest'
import { generateSigningKeys, keyFingerprint, sign, verifySignature } from './signing.ts'

test('keys and signatures match those of RFC 8032, test 2', () => {
  const raw = (hex: string) => Buffer.from(hex, 'hex').toString('base64url')
  const privateKey = raw('4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb')
  const publicKey = raw('3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c')
  const signature = raw(
    '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  )
  expect(sign(privateKey, 'r')).toBe(signature)
  expect(verifySignature(publicKey, 'r', signature)).toBe(true)
})

test('a signature holds for its key and its text only', () => {
  const keys = generateSigningKeys()
  const signature = sign(keys.privateKey, 'challenge')
  expect(keys.publicKey).toMatch(/^[\w-]{43}$/)
  expect(verifySignature(keys.publicKey, 'challenge', signature)).toBe(true)
  expect(verifySignature(keys.publicKey, 'another', signature)).toBe(false)
  expect(verifySignature(generateSigningKeys().publicKey, 'challenge', signature)).toBe(false)
  expect(verifySignature('short', 'challenge', signature)).toBe(false)
  expect(verifySignature(keys.publicKey, 'challenge', 'short')).toBe(false)
})

test('a fingerprint is SHA-256 in hex', () => {
  expect(keyFingerprint(Buffer.alloc(32).toString('base64url'))).toBe(
    '66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925',
  )
})
