import { z } from 'zod'
import { Instant } from './page.ts'
import { Role } from './permission.ts'
import { defineRoutes } from './route.ts'

export const Username = z.string().trim().min(1).max(100)
export const NewPassword = z.string().min(12).max(200)

export const Account = z
  .object({
    id: z.uuid().meta({ description: 'Id of the account' }),
    username: z.string().meta({ description: 'Name to log in with' }),
    role: Role,
    mustChangePassword: z.boolean().meta({
      description: 'The password is a one-time password; everything else is refused until it is changed',
    }),
  })
  .meta({ id: 'Account' })
export type Account = z.output<typeof Account>

export const LoginRequest = z
  .object({
    username: Username.meta({ description: 'Name of the account' }),
    password: z.string().min(1).max(200).meta({ description: 'Password of the account' }),
  })
  .meta({ id: 'LoginRequest' })

export const LoginResponse = z
  .object({
    token: z.string().meta({ description: 'Send as `Authorization: Bearer <token>`' }),
    expiresAt: Instant.meta({ description: 'When the token ends' }),
    account: Account,
  })
  .meta({ id: 'LoginResponse' })
export type LoginResponse = z.output<typeof LoginResponse>

export const ChangePasswordRequest = z
  .object({
    currentPassword: z.string().min(1).max(200).meta({ description: 'The password until now' }),
    newPassword: NewPassword.meta({ description: 'The password from now on, 12 characters or more' }),
  })
  .meta({ id: 'ChangePasswordRequest' })

export const authRoutes = defineRoutes({
  login: {
    method: 'post',
    path: '/auth/login',
    summary: 'Log in and receive a bearer token',
    permission: 'public',
    body: LoginRequest,
    response: LoginResponse,
    problems: ['credentials-invalid', 'too-many-requests'],
  },
  logout: {
    method: 'post',
    path: '/auth/logout',
    summary: 'End the session of the token',
    permission: 'account:self',
  },
  getAccount: {
    method: 'get',
    path: '/auth/account',
    summary: 'Get the own account',
    permission: 'account:self',
    response: Account,
  },
  changePassword: {
    method: 'post',
    path: '/auth/password',
    summary: 'Change the own password; other sessions of the account end',
    permission: 'account:self',
    body: ChangePasswordRequest,
    problems: ['credentials-invalid', 'too-many-requests'],
  },
})
