import type { Role } from '@sendense/contracts'

/** A person who can log in. */
export interface User {
  readonly id: string
  /** Lower case. */
  readonly username: string
  readonly role: Role
  /** Argon2id with its parameters, as `$argon2id$…`. */
  readonly passwordHash: string
  /** The password is a one-time password. */
  readonly mustChangePassword: boolean
  readonly createdAt: Date
  readonly passwordChangedAt: Date | null
}

/** A token that was handed out, to a person or to a Node. */
export interface Session {
  readonly id: string
  /** SHA-256 of the token, hex; the token itself is never kept. */
  readonly tokenSha256: string
  /** The user or the Node. */
  readonly subjectId: string
  readonly subjectName: string
  readonly role: Role
  readonly createdAt: Date
  readonly expiresAt: Date
}

export interface AuthStore {
  /** Fails with `conflict` when the name is taken. */
  addUser(user: User): Promise<void>
  getUser(id: string): Promise<User | undefined>
  findUser(username: string): Promise<User | undefined>
  hasUsers(): Promise<boolean>
  changePassword(userId: string, passwordHash: string, at: Date): Promise<void>

  addSession(session: Session): Promise<void>
  /** Whatever its expiry is. */
  findSession(tokenSha256: string): Promise<Session | undefined>
  removeSession(id: string): Promise<void>
  /** Removes all sessions of a subject, but for the one to keep. */
  removeSessionsOf(subjectId: string, keepId?: string): Promise<void>
  /** Removes what has ended before this moment. */
  removeExpiredSessions(before: Date): Promise<void>
}
