import {
  generateSealingKeys,
  generateSigningKeys,
  type KeyPair,
  keyFingerprint,
  writeFileAtomic,
} from '@sendense/platform'
import { z } from 'zod'
import { readJsonFile } from '../platform/read-json-file.ts'

/** The keys of a Node. The private halves never leave it. */
export interface NodeIdentity {
  /** Ed25519: proves who the Node is. */
  readonly signing: KeyPair
  /** X25519: vCenter credentials are sealed to it. */
  readonly sealing: KeyPair
  /** SHA-256 of the signing key, for comparing on both sides. */
  readonly fingerprint: string
}

/**
 * The keys in this file. They are made when there is none, and never again: with new keys the Node would be another
 * one, and nothing that was sealed to it could be opened. So a damaged file is an error, not a reason for new keys.
 */
export async function loadOrMakeIdentity(path: string): Promise<NodeIdentity> {
  const keys = (await readJsonFile(path, IdentityFile)) ?? (await makeKeys(path))
  return { ...keys, fingerprint: keyFingerprint(keys.signing.publicKey) }
}

async function makeKeys(path: string): Promise<z.output<typeof IdentityFile>> {
  const keys = { signing: generateSigningKeys(), sealing: generateSealingKeys() }
  await writeFileAtomic(path, JSON.stringify(keys), { mode: 0o600 })
  return keys
}

const Keys = z.object({ publicKey: z.string(), privateKey: z.string() })
const IdentityFile = z.object({ signing: Keys, sealing: Keys })
