import { randomBytes } from 'node:crypto'
import { hash, verify } from '@node-rs/argon2'

/** Argon2id, 19 MiB and 2 passes: the minimum that OWASP recommends. */
const PARAMETERS = { memoryCost: 19_456, timeCost: 2, parallelism: 1 }

/** Hashes with a salt of its own. */
export function hashPassword(password: string): Promise<string> {
  return hash(password, PARAMETERS)
}

/** Takes the same time whether there is a user or not, so that nobody can find out which names exist. */
export async function isPassword(passwordHash: string | undefined, password: string): Promise<boolean> {
  const isRight = await verify(passwordHash ?? (await nobodysHash()), password)
  return isRight && passwordHash !== undefined
}

/** 120 random bits in an alphabet that can be typed. */
export function makeUpPassword(): string {
  return randomBytes(15).toString('base64url')
}

let ofNobody: Promise<string> | undefined
function nobodysHash(): Promise<string> {
  ofNobody ??= hashPassword(makeUpPassword())
  return ofNobody
}
