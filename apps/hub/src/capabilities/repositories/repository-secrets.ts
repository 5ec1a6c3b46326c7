import {
  type NewRepositoryPlace,
  RepositoryPlace,
  type RepositoryPlace as RepositoryPlaceType,
} from '@sendense/contracts'
import type { SecretBox } from '../../platform/secrets/secret-box.ts'

/** The fields of each kind of place that only the Hub may know. */
const SECRET_FIELDS = {
  local: [],
  nfs: [],
  smb: ['password'],
  s3: ['secretAccessKey'],
  azure: ['accountKey'],
  sftp: ['privateKeyPem'],
  rest: ['password'],
} as const satisfies Record<NewRepositoryPlace['type'], readonly string[]>

/** Takes a place apart into what may be shown and what is sealed. */
export function sealPlace(
  place: NewRepositoryPlace,
  id: string,
  secrets: Pick<SecretBox, 'seal'>,
): { place: RepositoryPlaceType; sealedSecrets: string | null } {
  const fields: readonly string[] = SECRET_FIELDS[place.type]
  const secret = Object.fromEntries(Object.entries(place).filter(([name]) => fields.includes(name)))
  return {
    // The schema knows no secret, so none goes through.
    place: RepositoryPlace.parse(place),
    sealedSecrets: fields.length === 0 ? null : secrets.seal(JSON.stringify(secret), placeContext(id)),
  }
}

/** The place with its secrets again. */
export function openPlace(
  { id, place, sealedSecrets }: { id: string; place: RepositoryPlaceType; sealedSecrets: string | null },
  secrets: Pick<SecretBox, 'open'>,
): NewRepositoryPlace {
  const secret: object =
    sealedSecrets === null ? {} : JSON.parse(secrets.open(sealedSecrets, placeContext(id)))
  return { ...place, ...secret } as NewRepositoryPlace
}

/** What the sealed password of a repository is bound to. */
export function passwordContext(id: string): string {
  return `repository password ${id}`
}

function placeContext(id: string): string {
  return `repository secrets ${id}`
}
