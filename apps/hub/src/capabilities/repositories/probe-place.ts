import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { PlaceProbe, RepositoryPlace } from '@sendense/engine'
import { AppError } from '@sendense/platform'
import type { Engine } from '../../platform/engine/engine.ts'
import { throwFromEngine } from '../../platform/engine/engine-problem.ts'

/** Tries a place out. Fails with what is wrong with it, a bucket without the object lock that was asked for included. */
export async function probe(place: RepositoryPlace, engine: Pick<Engine, 'probePlace'>): Promise<PlaceProbe> {
  const found = await engine.probePlace(place).catch(throwFromEngine)
  if (place.type === 's3' && place.objectLock && found.objectLock?.enabled !== true) {
    throw new AppError('storage-object-lock-missing', {
      detail: `The bucket "${place.bucket}" was made without object lock, so it cannot protect files`,
    })
  }
  return found
}

/** Tries a share out that is mounted. Its folder is made with the repository: until then what holds it is tried out. */
export async function probeShare(
  place: RepositoryPlace & { type: 'local' },
  engine: Pick<Engine, 'probePlace'>,
): Promise<PlaceProbe> {
  let { path } = place
  while (await isMissing(path)) path = dirname(path)
  const found = await probe({ ...place, path }, engine)
  return path === place.path ? found : { ...found, isRepository: false, isEmpty: true }
}

/** What cannot be looked at is not missing. */
function isMissing(path: string): Promise<boolean> {
  return stat(path).then(
    () => false,
    (error: NodeJS.ErrnoException) => error.code === 'ENOENT',
  )
}
