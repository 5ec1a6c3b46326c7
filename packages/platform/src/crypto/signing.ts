import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign as signBytes,
  verify,
} from 'node:crypto'

/** Raw 32-byte keys in base64url. */
export interface KeyPair {
  readonly publicKey: string
  readonly privateKey: string
}

/** A new Ed25519 key pair. */
export function generateSigningKeys(): KeyPair {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  return {
    publicKey: rawEnd(publicKey.export({ format: 'der', type: 'spki' })),
    privateKey: rawEnd(privateKey.export({ format: 'der', type: 'pkcs8' })),
  }
}

/** Signs UTF-8 text; 64 bytes in base64url. */
export function sign(privateKey: string, text: string): string {
  const der = Buffer.concat([PKCS8_PREFIX, Buffer.from(privateKey, 'base64url')])
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  return signBytes(null, Buffer.from(text, 'utf8'), key).toString('base64url')
}

/** Whether the signature over the text was made by the owner of the key. Malformed input is a no. */
export function verifySignature(publicKey: string, text: string, signature: string): boolean {
  const rawKey = Buffer.from(publicKey, 'base64url')
  const rawSignature = Buffer.from(signature, 'base64url')
  if (rawKey.length !== KEY_BYTES || rawSignature.length !== SIGNATURE_BYTES) return false
  const key = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, rawKey]), format: 'der', type: 'spki' })
  return verify(null, Buffer.from(text, 'utf8'), key, rawSignature)
}

/** SHA-256 of the raw key in lower-case hex, for comparing on both sides. */
export function keyFingerprint(publicKey: string): string {
  return createHash('sha256').update(Buffer.from(publicKey, 'base64url')).digest('hex')
}

const KEY_BYTES = 32
const SIGNATURE_BYTES = 64
/** RFC 8410: everything of the DER encoding that precedes the 32 bytes of an Ed25519 key. */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex')

function rawEnd(der: Buffer): string {
  return der.subarray(-KEY_BYTES).toString('base64url')
}
