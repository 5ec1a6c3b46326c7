import { expect, test } from 'vitest'
import { generateSealingKeys, openSealed, sealTo } from './sealing.ts'

const CONTEXT = 'sendense vcenter credentials v1'

test('only the key and the context that it was sealed to open a box', async () => {
  const keys = generateSealingKeys()
  const box = await sealTo(keys.publicKey, 'Grüße, hunter2', CONTEXT)
  expect(box).not.toContain('hunter2')
  expect(await openSealed(keys.privateKey, box, CONTEXT)).toBe('Grüße, hunter2')
  await expect(openSealed(keys.privateKey, box, 'something else')).rejects.toThrow('cannot be opened')
  await expect(openSealed(generateSealingKeys().privateKey, box, CONTEXT)).rejects.toThrow('cannot be opened')
})

test('a changed or truncated box does not open', async () => {
  const keys = generateSealingKeys()
  const box = Buffer.from(await sealTo(keys.publicKey, 'text', CONTEXT), 'base64url')
  for (const at of [0, 31, 32, box.length - 1]) {
    const changed = Buffer.from(box)
    changed[at] = (changed[at] ?? 0) ^ 1
    await expect(openSealed(keys.privateKey, changed.toString('base64url'), CONTEXT)).rejects.toThrow()
  }
  await expect(openSealed(keys.privateKey, '', CONTEXT)).rejects.toThrow()
  await expect(
    openSealed(keys.privateKey, box.subarray(0, 40).toString('base64url'), CONTEXT),
  ).rejects.toThrow()
})

test('the same text seals to another box each time', async () => {
  const keys = generateSealingKeys()
  expect(await sealTo(keys.publicKey, 'a', CONTEXT)).not.toBe(await sealTo(keys.publicKey, 'a', CONTEXT))
})
