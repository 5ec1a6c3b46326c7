import { newId } from '@sendense/platform'
import { describe, expect, test } from 'vitest'
import type { AuthStore, Session, User } from './auth.store.ts'

/** What every store of users and sessions promises. */
export function authStoreSuite(name: string, open: () => Promise<AuthStore>): void {
  describe(name, () => {
    test('a user is found by id and by name, with all its fields', async () => {
      const store = await open()
      expect(await store.hasUsers()).toBe(false)
      const user = aUser()
      await store.addUser(user)
      expect(await store.getUser(user.id)).toEqual(user)
      expect(await store.findUser(user.username)).toEqual(user)
      expect(await store.findUser('nobody')).toBeUndefined()
      expect(await store.hasUsers()).toBe(true)
    })

    test('two users cannot have the same name', async () => {
      const store = await open()
      await store.addUser(aUser({ username: 'ada' }))
      await expect(store.addUser(aUser({ username: 'ada' }))).rejects.toMatchObject({ code: 'conflict' })
    })

    test('a changed password is no longer a one-time password', async () => {
      const store = await open()
      const user = aUser({ mustChangePassword: true })
      await store.addUser(user)
      const at = new Date('2026-02-03T04:05:06.789Z')
      await store.changePassword(user.id, '$argon2id$new', at)
      expect(await store.getUser(user.id)).toEqual({
        ...user,
        passwordHash: '$argon2id$new',
        mustChangePassword: false,
        passwordChangedAt: at,
      })
    })

    test('a session is found by the hash of its token until it is removed', async () => {
      const store = await open()
      const session = aSession()
      await store.addSession(session)
      expect(await store.findSession(session.tokenSha256)).toEqual(session)
      await store.removeSession(session.id)
      expect(await store.findSession(session.tokenSha256)).toBeUndefined()
    })

    test('the sessions of a subject are removed, but for the one to keep', async () => {
      const store = await open()
      const [kept, other, foreign] = [aSession(), aSession(), aSession({ subjectId: newId() })]
      for (const session of [kept, other, foreign]) await store.addSession(session)
      await store.removeSessionsOf(kept.subjectId, kept.id)
      expect(await store.findSession(kept.tokenSha256)).toEqual(kept)
      expect(await store.findSession(other.tokenSha256)).toBeUndefined()
      await store.removeSessionsOf(kept.subjectId)
      expect(await store.findSession(kept.tokenSha256)).toBeUndefined()
      expect(await store.findSession(foreign.tokenSha256)).toEqual(foreign)
    })

    test('only sessions that have ended are swept', async () => {
      const store = await open()
      const now = new Date('2026-01-01T12:00:00.000Z')
      const ended = aSession({ expiresAt: now })
      const open_ = aSession({ expiresAt: new Date(now.getTime() + 1) })
      await store.addSession(ended)
      await store.addSession(open_)
      await store.removeExpiredSessions(now)
      expect(await store.findSession(ended.tokenSha256)).toBeUndefined()
      expect(await store.findSession(open_.tokenSha256)).toEqual(open_)
    })
  })
}

function aUser(overrides: Partial<User> = {}): User {
  return {
    id: newId(),
    username: `user-${newId()}`,
    role: 'viewer',
    passwordHash: '$argon2id$old',
    mustChangePassword: false,
    createdAt: new Date('2026-01-01T00:00:00.123Z'),
    passwordChangedAt: null,
    ...overrides,
  }
}

const SUBJECT_ID = newId()
function aSession(overrides: Partial<Session> = {}): Session {
  return {
    id: newId(),
    tokenSha256: newId().replaceAll('-', '').padEnd(64, '0'),
    subjectId: SUBJECT_ID,
    subjectName: 'ada',
    role: 'administrator',
    createdAt: new Date('2026-01-01T00:00:00.001Z'),
    expiresAt: new Date('2026-01-01T12:00:00.001Z'),
    ...overrides,
  }
}
