import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'

const ALGORITHM = 'aes-256-gcm'
const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
const PREFIX = 'v1.'

/** Seals small secrets, such as passwords of repositories, for keeping in the database. */
export class SecretBox {
  readonly #key: Buffer

  constructor(key: Buffer) {
    if (key.length !== KEY_BYTES) throw new RangeError(`The master key must have ${KEY_BYTES} bytes`)
    this.#key = key
  }

  /** Names the key without telling anything about it. */
  get fingerprint(): string {
    return createHash('sha256').update('sendense master key').update(this.#key).digest('hex').slice(0, 32)
  }

  /** The context says what the secret is and whose: sealed text that was moved elsewhere does not open. */
  seal(secret: string, context: string): string {
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv(ALGORITHM, this.#key, nonce, { authTagLength: TAG_BYTES })
    cipher.setAAD(Buffer.from(context, 'utf8'))
    const sealed = Buffer.concat([nonce, cipher.update(secret, 'utf8'), cipher.final(), cipher.getAuthTag()])
    return PREFIX + sealed.toString('base64url')
  }

  /** Throws when the key or the context is another, or the text was changed. */
  open(sealed: string, context: string): string {
    const bytes = Buffer.from(sealed.slice(PREFIX.length), 'base64url')
    if (!sealed.startsWith(PREFIX) || bytes.length < NONCE_BYTES + TAG_BYTES) throw cannotOpen(context)
    const nonce = bytes.subarray(0, NONCE_BYTES)
    const decipher = createDecipheriv(ALGORITHM, this.#key, nonce, { authTagLength: TAG_BYTES })
    decipher.setAAD(Buffer.from(context, 'utf8'))
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES))
    try {
      const text = bytes.subarray(NONCE_BYTES, -TAG_BYTES)
      return Buffer.concat([decipher.update(text), decipher.final()]).toString('utf8')
    } catch (cause) {
      throw cannotOpen(context, cause)
    }
  }
}

function cannotOpen(context: string, cause?: unknown): Error {
  return new Error(`A secret of the database cannot be opened: ${context}`, { cause })
}
