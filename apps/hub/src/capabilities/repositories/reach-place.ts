import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { NewRepositoryPlace, RepositoryLimits } from '@sendense/contracts'
import type { RepositoryLimits as EngineLimits, RepositoryPlace as EnginePlace } from '@sendense/engine'
import { AppError } from '@sendense/platform'
import { mountSpecOf } from './mounts/mount-spec.ts'
import type { RepositoryMounts } from './mounts/repository-mounts.ts'

/** The place as the engine knows it: a share is mounted first, and is a folder then. */
export async function reachPlace(
  place: NewRepositoryPlace,
  name: string,
  mounts: Pick<RepositoryMounts, 'attach'>,
): Promise<EnginePlace> {
  if (place.type !== 'nfs' && place.type !== 'smb') return defined(place) as EnginePlace
  const point = await mounts.attach(name, mountSpecOf(place))
  return { type: 'local', path: join(point, place.folder) }
}

/** As `reachPlace`, for whoever wants to store something there: fails when a share does not let the Hub write. */
export async function reachPlaceToWrite(
  place: NewRepositoryPlace,
  name: string,
  mounts: Pick<RepositoryMounts, 'attach' | 'checkWritable'>,
): Promise<EnginePlace> {
  const reached = await reachPlace(place, name, mounts)
  if (isMounted(place)) await mounts.checkWritable(name)
  return reached
}

/** Makes the folder of a new repository, if it is to be a folder. */
export async function makeFolder(place: EnginePlace): Promise<void> {
  if (place.type !== 'local') return
  await mkdir(place.path, { recursive: true, mode: 0o700 }).catch((cause: unknown) => {
    throw new AppError('repository-unavailable', { detail: `The folder ${place.path} cannot be made`, cause })
  })
}

/** The limits as the engine knows them: absent where there is none. */
export function engineLimits(limits: RepositoryLimits): EngineLimits {
  return Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== null))
}

/** The limits with some of them changed: absent ones stay, null takes one away. */
export function changedLimits(
  limits: RepositoryLimits,
  change: { [K in keyof RepositoryLimits]?: RepositoryLimits[K] | undefined },
): RepositoryLimits {
  const given = Object.entries(change).filter(([, value]) => value !== undefined)
  return { ...limits, ...Object.fromEntries(given) }
}

/** Whether a place is a share that the Hub mounts. */
export function isMounted({ type }: { type: NewRepositoryPlace['type'] }): boolean {
  return type === 'nfs' || type === 'smb'
}

/** The native module takes an absent field and no `undefined`. */
function defined(place: NewRepositoryPlace): object {
  return Object.fromEntries(Object.entries(place).filter(([, value]) => value !== undefined))
}
