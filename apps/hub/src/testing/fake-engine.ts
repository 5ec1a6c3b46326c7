import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type DataPlane,
  EngineError,
  type Repository,
  type RepositoryLocation,
  type RepositoryPlace,
} from '@sendense/engine'
import type { Engine } from '../platform/engine/engine.ts'

/** An engine that makes folders with a config and no restore points; for tests of what stands around it. */
export function fakeEngine(): Engine & { readonly openCount: number } {
  let openCount = 0
  const open = async (location: RepositoryLocation): Promise<Repository> => {
    const repository = await openFake(location)
    openCount++
    return { ...repository, close: async () => void openCount-- }
  }
  return {
    get openCount() {
      return openCount
    },
    async initRepository(location) {
      const path = folderOf(location.place)
      await mkdir(path, { recursive: true })
      if ((await readdir(path)).length > 0) throw new EngineError('repository-exists', 'Not empty')
      const config = { id: randomBytes(32).toString('hex'), password: location.password }
      await writeFile(join(path, 'config'), JSON.stringify(config))
      await mkdir(join(path, 'keys'))
      return open(location)
    },
    openRepository: open,
    async probePlace(place) {
      const names = await readdir(folderOf(place)).catch((): string[] => [])
      return {
        isRepository: names.includes('config'),
        isEmpty: names.length === 0,
        totalBytes: place.type === 'local' ? 1000 : null,
        freeBytes: place.type === 'local' ? 900 : null,
        latencyMs: 1,
        clockSkewMs: null,
        objectLock:
          place.type === 's3' ? { enabled: place.bucket === 'locked', mode: null, days: null } : null,
      }
    },
    async listenDataPlane() {
      const dataPlane: DataPlane = {
        port: 1,
        certificateSha256: '',
        close: async () => undefined,
        [Symbol.asyncDispose]: async () => undefined,
      }
      return dataPlane
    },
  }
}

interface Config {
  id: string
  password: string
}

/** A bucket is a folder too: a test says by the prefix which one. */
function folderOf(place: RepositoryPlace): string {
  if (place.type === 'local') return place.path
  if (place.type === 's3') return join('/', place.prefix ?? place.bucket)
  throw new Error('The fake engine knows folders and buckets only')
}

async function openFake({ place, password }: RepositoryLocation): Promise<Repository> {
  const path = folderOf(place)
  const config = await readConfig(path)
  if (config.password !== password)
    throw new EngineError('repository-password-wrong', 'The password is wrong')
  const notFaked = () => Promise.reject(new Error('The fake engine cannot do this'))
  return {
    id: config.id,
    restorePoints: async () => [],
    readText: notFaked,
    forget: notFaked,
    storage: async () => ({ totalBytes: 1000, freeBytes: 900, usedBytes: 100, packCount: 0, chunkCount: 0 }),
    beginCapture: notFaked,
    verify: notFaked,
    prune: notFaked,
    copyTo: notFaked,
    repair: notFaked,
    statistics: notFaked,
    keys: notFaked,
    addKey: notFaked,
    removeKey: notFaked,
    changePassword: notFaked,
    locks: notFaked,
    removeStaleLocks: notFaked,
    protection: notFaked,
    check: notFaked,
    restoreDisk: notFaked,
    adoptOrphans: async () => ({ packs: 0, chunks: 0 }),
    close: async () => undefined,
    [Symbol.asyncDispose]: async () => undefined,
  }
}

async function readConfig(path: string): Promise<Config> {
  const text = await readFile(join(path, 'config'), 'utf8').catch(() => {
    throw new EngineError('repository-not-found', `There is no repository at ${path}`)
  })
  return JSON.parse(text) as Config
}
