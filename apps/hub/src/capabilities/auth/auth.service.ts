import { createHash, randomBytes } from 'node:crypto'
import type { Account, LoginResponse, Role } from '@sendense/contracts'
import { AppError, type Clock, type Logger, newId, type Principal, principalOf } from '@sendense/platform'
import type { AuthStore, Session, User } from './auth.store.ts'
import { hashPassword, isPassword, makeUpPassword } from './password.ts'

const SESSION_LIFETIME_MS = 12 * 3_600_000
const FIRST_USERNAME = 'admin'

/** Where the first password is shown once, and forgotten when it was changed. */
export interface FirstPassword {
  show(username: string, password: string): Promise<void>
  forget(): Promise<void>
}

export interface AuthOptions {
  store: AuthStore
  clock: Clock
  log: Logger
  firstPassword: FirstPassword
}

/** Who somebody is: accounts, passwords and the tokens that stand for them. */
export class AuthService {
  readonly #store: AuthStore
  readonly #clock: Clock
  readonly #log: Logger
  readonly #firstPassword: FirstPassword

  constructor({ store, clock, log, firstPassword }: AuthOptions) {
    this.#store = store
    this.#clock = clock
    this.#log = log
    this.#firstPassword = firstPassword
  }

  /** Creates `admin` with a one-time password when there is nobody yet. */
  async ensureFirstAdministrator(): Promise<void> {
    if (await this.#store.hasUsers()) return
    const password = makeUpPassword()
    // Shown first: a password that nobody saw would lock everybody out.
    await this.#firstPassword.show(FIRST_USERNAME, password)
    const role = 'administrator'
    await this.createUser({ username: FIRST_USERNAME, password, role, mustChangePassword: true })
    this.#log.info('The first administrator was created', { username: FIRST_USERNAME })
  }

  /** Adds somebody who can log in. Fails with `conflict` when the name is taken. */
  async createUser(user: {
    username: string
    password: string
    role: Role
    mustChangePassword: boolean
  }): Promise<void> {
    await this.#store.addUser({
      id: newId(),
      username: user.username.toLowerCase(),
      role: user.role,
      passwordHash: await hashPassword(user.password),
      mustChangePassword: user.mustChangePassword,
      createdAt: this.#clock.now(),
      passwordChangedAt: null,
    })
  }

  async login(
    request: { username: string; password: string },
    remoteAddress: string,
  ): Promise<LoginResponse> {
    const username = request.username.toLowerCase()
    const user = await this.#store.findUser(username)
    if (!(await isPassword(user?.passwordHash, request.password)) || !user) {
      this.#log.warn('A login failed', { username, remoteAddress })
      throw new AppError('credentials-invalid')
    }
    const { token, expiresAt } = await this.issueToken({
      subjectId: user.id,
      name: user.username,
      role: user.role,
      lifetimeMs: SESSION_LIFETIME_MS,
    })
    this.#log.info('A user has logged in', { username, remoteAddress })
    return { token, expiresAt: expiresAt.toISOString(), account: toAccount(user) }
  }

  async logout({ sessionId }: Principal): Promise<void> {
    if (sessionId !== undefined) await this.#store.removeSession(sessionId)
  }

  async getAccount({ id }: Principal): Promise<Account> {
    return toAccount(await this.#getUser(id))
  }

  async changePassword(
    principal: Principal,
    { currentPassword, newPassword }: { currentPassword: string; newPassword: string },
  ): Promise<void> {
    const user = await this.#getUser(principal.id)
    if (!(await isPassword(user.passwordHash, currentPassword))) throw new AppError('credentials-invalid')
    if (newPassword === currentPassword) {
      throw new AppError('request-invalid', {
        errors: [{ pointer: '/body/newPassword', detail: 'must not be the password until now' }],
      })
    }
    await this.#store.changePassword(user.id, await hashPassword(newPassword), this.#clock.now())
    await this.#store.removeSessionsOf(user.id, principal.sessionId)
    if (user.mustChangePassword) await this.#firstPassword.forget()
    this.#log.info('A password was changed', { username: user.username })
  }

  /** Who holds this token; nobody when it is unknown or has ended. */
  async authenticate(token: string): Promise<Principal | undefined> {
    const session = await this.#store.findSession(hashOf(token))
    if (!session || session.expiresAt <= this.#clock.now()) return undefined
    if (session.role === 'node') return principalOfSession(session)
    const user = await this.#store.getUser(session.subjectId)
    if (!user) return undefined
    return user.mustChangePassword ? restricted(principalOfSession(session)) : principalOfSession(session)
  }

  /** Hands out a token: 32 random bytes that only their holder knows. */
  async issueToken(input: {
    subjectId: string
    name: string
    role: Role
    lifetimeMs: number
  }): Promise<{ token: string; expiresAt: Date }> {
    const token = randomBytes(32).toString('base64url')
    const createdAt = this.#clock.now()
    await this.#store.removeExpiredSessions(createdAt)
    const expiresAt = new Date(createdAt.getTime() + input.lifetimeMs)
    await this.#store.addSession({
      id: newId(),
      tokenSha256: hashOf(token),
      subjectId: input.subjectId,
      subjectName: input.name,
      role: input.role,
      createdAt,
      expiresAt,
    })
    return { token, expiresAt }
  }

  /** Ends all tokens of a user or a Node. */
  revokeTokens(subjectId: string): Promise<void> {
    return this.#store.removeSessionsOf(subjectId)
  }

  async #getUser(id: string): Promise<User> {
    const user = await this.#store.getUser(id)
    if (!user) throw new AppError('unauthenticated')
    return user
  }
}

/** Looking up a hash tells an attacker's clock nothing about the token. */
function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}

function principalOfSession({ id, subjectId, subjectName, role }: Session): Principal {
  return { ...principalOf({ id: subjectId, name: subjectName, role }), sessionId: id }
}

/** Until the one-time password is changed, the own account is all there is. */
function restricted(principal: Principal): Principal {
  return {
    ...principal,
    can: permission => permission === 'account:self' && principal.can(permission),
    refusal: 'password-change-required',
  }
}

function toAccount({ id, username, role, mustChangePassword }: User): Account {
  return { id, username, role, mustChangePassword }
}
