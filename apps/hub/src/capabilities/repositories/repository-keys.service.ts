import { randomBytes } from 'node:crypto'
import type { RepositoryId } from '@sendense/contracts'
import type { RepositoryKey } from '@sendense/engine'
import { AppError, type Logger, type Principal } from '@sendense/platform'
import { throwFromEngine } from '../../platform/engine/engine-problem.ts'
import type { SecretBox } from '../../platform/secrets/secret-box.ts'
import { OneByOne } from './one-by-one.ts'
import type { OpenRepositories } from './open-repositories.ts'
import type { RepositoriesStore, RepositoryRecord } from './repositories.store.ts'
import { passwordContext } from './repository-secrets.ts'

interface Options {
  store: Pick<RepositoriesStore, 'get' | 'change'>
  opened: OpenRepositories
  secrets: Pick<SecretBox, 'seal'>
  log: Logger
}

/** The keys that open a repository. Each has a password of its own; all lead to the same data. */
export class RepositoryKeysService {
  readonly #options: Options
  readonly #oneByOne = new OneByOne<RepositoryId>()

  constructor(options: Options) {
    this.#options = options
  }

  async list(id: RepositoryId) {
    const repository = await this.#open(id)
    const keys = await repository.keys().catch(throwFromEngine)
    const age = ({ createdAt }: RepositoryKey) => createdAt?.getTime() ?? 0
    const byAge = [...keys].sort((one, other) => age(one) - age(other))
    return { keys: byAge.map(key => ({ ...key, createdAt: key.createdAt?.toISOString() ?? null })) }
  }

  /** Adds a key. Its password is shown now and is kept nowhere. */
  async add(principal: Principal, id: RepositoryId, given: string | undefined) {
    const repository = await this.#open(id)
    const password = given ?? recoveryPassword()
    const keyId = await repository.addKey(password).catch(throwFromEngine)
    this.#options.log.info('A key was added', { repositoryId: id, keyId, by: principal.name })
    return { keyId, password: given === undefined ? password : null }
  }

  async remove(principal: Principal, id: RepositoryId, keyId: string): Promise<void> {
    const repository = await this.#open(id)
    const key = (await repository.keys().catch(throwFromEngine)).find(one => one.id === keyId)
    if (!key) throw new AppError('not-found', { detail: `The repository has no key ${keyId}.` })
    if (key.isCurrent) {
      const detail = 'The Hub opens the repository with this key. Change its password instead.'
      throw new AppError('conflict', { detail })
    }
    await repository.removeKey(keyId).catch(throwFromEngine)
    this.#options.log.info('A key was removed', { repositoryId: id, keyId, by: principal.name })
  }

  /**
   * Changes the password that the Hub uses. The new one is kept before the repository knows it: whenever the Hub dies,
   * one of the two that it has opens the repository, and the next change finds out which.
   */
  changePassword(principal: Principal, id: RepositoryId, given: string | undefined) {
    return this.#oneByOne.run(id, async () => {
      const { store, opened, secrets, log } = this.#options
      const record = await this.#find(id)
      const repository = await opened.open(record)
      if (record.sealedNextPassword !== null) await opened.settlePassword(record)
      const password = given ?? randomBytes(32).toString('base64url')
      const sealed = secrets.seal(password, passwordContext(id))
      await store.change(id, { sealedNextPassword: sealed })
      const kept = await repository.changePassword(password).catch(throwFromEngine)
      await store.change(id, { sealedPassword: sealed, sealedNextPassword: null })
      log.info('The password of a repository was changed', { repositoryId: id, by: principal.name })
      const keptKey = kept && { id: kept.id, protectedUntil: kept.until?.toISOString() ?? null }
      return { password: given === undefined ? password : null, keptKey }
    })
  }

  async #open(id: RepositoryId) {
    return this.#options.opened.open(await this.#find(id))
  }

  async #find(id: RepositoryId): Promise<RepositoryRecord> {
    const record = await this.#options.store.get(id)
    if (!record) throw new AppError('not-found', { detail: `There is no repository ${id}.` })
    return record
  }
}

/** Letters and digits that cannot be mistaken for one another, in groups: made to be written on paper. 200 bits. */
function recoveryPassword(): string {
  const letters = [...randomBytes(40)].map(byte => ALPHABET[byte % ALPHABET.length])
  return letters.join('').replaceAll(/(.{5})(?=.)/g, '$1-')
}

/** 32 of them: a byte picks each as often. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
