import { createCipheriv, createHash } from 'node:crypto'

/** Bytes that do not compress, the same at each run: the key stream of AES-256-CTR under the hash of the seed. */
export function noise(length: number, seed: string): Buffer<ArrayBuffer> {
  const key = createHash('sha256').update(seed).digest()
  return Buffer.from(createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length)))
}
