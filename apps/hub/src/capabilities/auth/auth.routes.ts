import { authRoutes } from '@sendense/contracts'
import { type Authenticate, bindRoutes } from '@sendense/platform'
import type { Router } from 'express'
import type { AuthService } from './auth.service.ts'

/** Binds login and the own account. */
export function mountAuth(router: Router, auth: AuthService, authenticate: Authenticate): void {
  bindRoutes(
    router,
    authRoutes,
    {
      login: ({ body }, { remoteAddress }) => auth.login(body, remoteAddress),
      logout: (_input, { principal }) => auth.logout(principal),
      getAccount: (_input, { principal }) => auth.getAccount(principal),
      changePassword: ({ body }, { principal }) => auth.changePassword(principal, body),
    },
    { authenticate },
  )
}
