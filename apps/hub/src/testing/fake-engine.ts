import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type DataPlane,
  EngineError,
  type Repository,
  type RepositoryKey,
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
      // As the real one: keys without a config are left of an attempt that has failed.
      const names = await readdir(path)
      if (names.some(name => name !== 'keys')) throw new EngineError('repository-exists', 'Not empty')
      await writeConfig(path, {
        id: randomBytes(32).toString('hex'),
        keys: [{ id: keyId(), password: location.password }],
      })
      await mkdir(join(path, 'keys'), { recursive: true })
      return open(location)
    },
    openRepository: open,
    createRateLimit: async () => ({ setRate: async () => {} }),
    async probePlace(place) {
      const names = await readdir(folderOf(place)).catch((): string[] => [])
      return {
        isRepository: names.includes('config'),
        isEmpty: names.length === 0,
        totalBytes: place.type === 'local' ? 1000 : null,
        freeBytes: place.type === 'local' ? 900 : null,
        latencyMs: 1,
        isDurable: true,
        clockSkewMs: null,
        objectLock:
          place.type === 's3' ? { enabled: place.bucket === 'locked', mode: null, days: null } : null,
      }
    },
    removeRestoreLeftovers: async () => {},
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
  keys: { id: string; password: string }[]
}

/** Places elsewhere are folders too: a test says by the bucket or path which one. */
function folderOf(place: RepositoryPlace): string {
  if (place.type === 'local' || place.type === 'sftp') return place.path
  return join('/', place.type === 's3' ? (place.prefix ?? place.bucket) : place.type)
}

async function openFake({ place, password }: RepositoryLocation): Promise<Repository> {
  const path = folderOf(place)
  const config = await readConfig(path)
  const current = config.keys.find(key => key.password === password)
  if (!current) throw new EngineError('repository-password-wrong', 'The password is wrong')
  const notFaked = () => Promise.reject(new Error('The fake engine cannot do this'))
  return {
    id: config.id,
    restorePoints: async () => [],
    restorePointIds: async () => [],
    readText: notFaked,
    forget: notFaked,
    storage: async () => ({ totalBytes: 1000, freeBytes: 900, usedBytes: 100, packCount: 0, chunkCount: 0 }),
    beginCapture: notFaked,
    verify: notFaked,
    check: notFaked,
    restoreDisk: notFaked,
    adoptOrphans: async () => ({ packs: 0, chunks: 0 }),
    statistics: async () => ({
      ...{ restorePointCount: 2, logicalBytes: 400, uniqueBytes: 100, storedBytes: 50 },
      ...{ metadataBytes: 5, unusedBytes: 0, chunkCount: 3, packCount: 1, indexFileCount: 1 },
    }),
    ...fakeKeys(path, current.id),
    locks: async () => [],
    removeStaleLocks: async () => 0,
    prune: notFaked,
    copyTo: notFaked,
    repair: notFaked,
    protection: async () => null,
    close: async () => undefined,
    [Symbol.asyncDispose]: async () => undefined,
  }
}

function fakeKeys(path: string, currentId: string) {
  let current = currentId
  const change = async (change: (keys: Config['keys']) => Config['keys']) => {
    const config = await readConfig(path)
    await writeConfig(path, { ...config, keys: change(config.keys) })
  }
  return {
    keys: async (): Promise<RepositoryKey[]> =>
      (await readConfig(path)).keys.map(({ id }) => ({
        ...{ id, createdAt: new Date(0), username: 'hub', hostname: 'hub', isCurrent: id === current },
        isSuperseded: false,
      })),
    addKey: async (password: string) => {
      const id = keyId()
      await change(keys => [...keys, { id, password }])
      return id
    },
    removeKey: (id: string) => change(keys => keys.filter(key => key.id !== id)),
    changePassword: async (password: string) => {
      const id = keyId()
      await change(keys => [...keys.filter(key => key.id !== current), { id, password }])
      current = id
      return null
    },
  }
}

function keyId(): string {
  return randomBytes(32).toString('hex')
}

async function readConfig(path: string): Promise<Config> {
  const text = await readFile(join(path, 'config'), 'utf8').catch(() => {
    throw new EngineError('repository-not-found', `There is no repository at ${path}`)
  })
  return JSON.parse(text) as Config
}

async function writeConfig(path: string, config: Config): Promise<void> {
  await writeFile(join(path, 'config'), JSON.stringify(config))
}
