import { AppError } from '@sendense/platform'
import { LessThanOrEqual, Not } from 'typeorm'
import { type Db, isUniqueViolation } from '../../platform/database/index.ts'
import { SessionEntity, UserEntity } from './auth.entities.ts'
import type { AuthStore, Session, User } from './auth.store.ts'

/** Users and sessions in the database. */
export class AuthTypeormStore implements AuthStore {
  readonly #db: Db

  constructor(db: Db) {
    this.#db = db
  }

  async addUser(user: User): Promise<void> {
    try {
      await this.#db.write(manager => manager.insert(UserEntity, { ...user }))
    } catch (error) {
      if (!isUniqueViolation(error)) throw error
      throw new AppError('conflict', { detail: `There is a user ${user.username} already`, cause: error })
    }
  }

  async getUser(id: string): Promise<User | undefined> {
    return (await this.#db.read(manager => manager.findOneBy(UserEntity, { id }))) ?? undefined
  }

  async findUser(username: string): Promise<User | undefined> {
    return (await this.#db.read(manager => manager.findOneBy(UserEntity, { username }))) ?? undefined
  }

  hasUsers(): Promise<boolean> {
    return this.#db.read(manager => manager.exists(UserEntity))
  }

  async changePassword(userId: string, passwordHash: string, at: Date): Promise<void> {
    const change = { passwordHash, mustChangePassword: false, passwordChangedAt: at }
    await this.#db.write(manager => manager.update(UserEntity, { id: userId }, change))
  }

  async addSession(session: Session): Promise<void> {
    await this.#db.write(manager => manager.insert(SessionEntity, { ...session }))
  }

  async findSession(tokenSha256: string): Promise<Session | undefined> {
    return (await this.#db.read(manager => manager.findOneBy(SessionEntity, { tokenSha256 }))) ?? undefined
  }

  async removeSession(id: string): Promise<void> {
    await this.#db.write(manager => manager.delete(SessionEntity, { id }))
  }

  async removeSessionsOf(subjectId: string, keepId?: string): Promise<void> {
    const which = { subjectId, ...(keepId !== undefined && { id: Not(keepId) }) }
    await this.#db.write(manager => manager.delete(SessionEntity, which))
  }

  async removeExpiredSessions(before: Date): Promise<void> {
    await this.#db.write(manager => manager.delete(SessionEntity, { expiresAt: LessThanOrEqual(before) }))
  }
}
