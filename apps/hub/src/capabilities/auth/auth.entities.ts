import { EntitySchema } from 'typeorm'
import { bool, id, instant, named, text } from '../../platform/database/columns.ts'
import type { Session, User } from './auth.store.ts'

export type UserRow = { -readonly [K in keyof User]: User[K] }
export type SessionRow = { -readonly [K in keyof Session]: Session[K] }

export const UserEntity = new EntitySchema<UserRow>({
  name: 'User',
  tableName: 'users',
  columns: {
    id: id({ primary: true }),
    username: text(100, { unique: true }),
    role: text(16),
    passwordHash: named('password_hash', text(255)),
    mustChangePassword: named('must_change_password', bool()),
    createdAt: named('created_at', instant()),
    passwordChangedAt: named('password_changed_at', instant({ nullable: true })),
  },
})

export const SessionEntity = new EntitySchema<SessionRow>({
  name: 'Session',
  tableName: 'sessions',
  columns: {
    id: id({ primary: true }),
    tokenSha256: named('token_sha256', text(64, { unique: true })),
    subjectId: named('subject_id', id()),
    subjectName: named('subject_name', text(100)),
    role: text(16),
    createdAt: named('created_at', instant()),
    expiresAt: named('expires_at', instant()),
  },
  indices: [{ name: 'ix_sessions_subject', columns: ['subjectId'] }],
})

export const AuthEntities = [UserEntity, SessionEntity]
