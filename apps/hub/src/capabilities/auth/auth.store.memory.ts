import { AppError } from '@sendense/platform'
import type { AuthStore, Session, User } from './auth.store.ts'

/** The fake: passes the same suite as the real store. */
export class AuthMemoryStore implements AuthStore {
  readonly #users = new Map<string, User>()
  readonly #sessions = new Map<string, Session>()

  async addUser(user: User): Promise<void> {
    if (await this.findUser(user.username)) throw new AppError('conflict')
    this.#users.set(user.id, { ...user })
  }

  async getUser(id: string): Promise<User | undefined> {
    return this.#users.get(id)
  }

  async findUser(username: string): Promise<User | undefined> {
    return [...this.#users.values()].find(user => user.username === username)
  }

  async hasUsers(): Promise<boolean> {
    return this.#users.size > 0
  }

  async changePassword(userId: string, passwordHash: string, at: Date): Promise<void> {
    const user = this.#users.get(userId)
    if (user)
      this.#users.set(userId, { ...user, passwordHash, mustChangePassword: false, passwordChangedAt: at })
  }

  async addSession(session: Session): Promise<void> {
    this.#sessions.set(session.id, { ...session })
  }

  async findSession(tokenSha256: string): Promise<Session | undefined> {
    return [...this.#sessions.values()].find(session => session.tokenSha256 === tokenSha256)
  }

  async removeSession(id: string): Promise<void> {
    this.#sessions.delete(id)
  }

  async removeSessionsOf(subjectId: string, keepId?: string): Promise<void> {
    this.#removeWhere(session => session.subjectId === subjectId && session.id !== keepId)
  }

  async removeExpiredSessions(before: Date): Promise<void> {
    this.#removeWhere(session => session.expiresAt <= before)
  }

  #removeWhere(matches: (session: Session) => boolean): void {
    for (const session of this.#sessions.values()) if (matches(session)) this.#sessions.delete(session.id)
  }
}
