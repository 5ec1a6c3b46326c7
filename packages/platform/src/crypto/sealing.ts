import { generateKeyPairSync } from 'node:crypto'
import { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from '@hpke/core'
import type { KeyPair } from './signing.ts'

/** A new X25519 key pair, raw in base64url. */
export function generateSealingKeys(): KeyPair {
  const { publicKey, privateKey } = generateKeyPairSync('x25519')
  return {
    publicKey: rawEnd(publicKey.export({ format: 'der', type: 'spki' })),
    privateKey: rawEnd(privateKey.export({ format: 'der', type: 'pkcs8' })),
  }
}

/**
 * Seals text so that only the owner of the key can open it (HPKE, RFC 9180, base mode). The context says what the
 * box is for; a box opens with the same context only.
 */
export async function sealTo(publicKey: string, plaintext: string, context: string): Promise<string> {
  const recipientPublicKey = await SUITE.kem.importKey('raw', toBytes(publicKey), true)
  const sender = await SUITE.createSenderContext({ recipientPublicKey, info: encode(context) })
  const sealed = await sender.seal(encode(plaintext))
  return Buffer.concat([Buffer.from(sender.enc), Buffer.from(sealed)]).toString('base64url')
}

/** Opens a box of `sealTo`. Throws when key or context differ, or a bit of it was changed. */
export async function openSealed(privateKey: string, box: string, context: string): Promise<string> {
  const bytes = Buffer.from(box, 'base64url')
  try {
    const recipient = await SUITE.createRecipientContext({
      recipientKey: await SUITE.kem.importKey('raw', toBytes(privateKey), false),
      enc: toArrayBuffer(bytes.subarray(0, ENCAPSULATED_BYTES)),
      info: encode(context),
    })
    const opened = await recipient.open(toArrayBuffer(bytes.subarray(ENCAPSULATED_BYTES)))
    return new TextDecoder().decode(opened)
  } catch (cause) {
    throw new Error(`The sealed box cannot be opened with this key as "${context}"`, { cause })
  }
}

const SUITE = new CipherSuite({
  kem: new DhkemX25519HkdfSha256(),
  kdf: new HkdfSha256(),
  aead: new Aes256Gcm(),
})
const KEY_BYTES = 32
const ENCAPSULATED_BYTES = 32

function rawEnd(der: Buffer): string {
  return der.subarray(-KEY_BYTES).toString('base64url')
}

function toBytes(key: string): ArrayBuffer {
  return toArrayBuffer(Buffer.from(key, 'base64url'))
}

function encode(text: string): ArrayBuffer {
  return toArrayBuffer(Buffer.from(text, 'utf8'))
}

/** A copy with a buffer of its own: a Buffer may be a view into one that is shared. */
function toArrayBuffer(bytes: Buffer): ArrayBuffer {
  return Uint8Array.from(bytes).buffer
}
