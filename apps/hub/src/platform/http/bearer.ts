import { AppError, type Authenticate, type Principal } from '@sendense/platform'
import { Passport } from 'passport'
import { Strategy } from 'passport-http-bearer'

/** Tells who sent a request by its bearer token, or fails with `unauthenticated`. */
export function bearerAuthentication(
  findPrincipal: (token: string) => Promise<Principal | undefined>,
): Authenticate {
  const passport = new Passport()
  passport.use(
    new Strategy((token, done) => {
      findPrincipal(token).then(
        principal => done(null, principal ?? false),
        (error: unknown) => done(error),
      )
    }),
  )
  return (req, res) => {
    // The strategy would also take a token from the query or the body; URLs end up in logs.
    if (req.headers.authorization === undefined) return Promise.reject(new AppError('unauthenticated'))
    return new Promise((resolve, reject) => {
      const answer = (error: unknown, principal: Principal | false | undefined) => {
        if (error) reject(error)
        else if (principal) resolve(principal)
        else reject(new AppError('unauthenticated', { detail: 'The token is not valid or has ended' }))
      }
      passport.authenticate('bearer', { session: false }, answer)(req, res, reject)
    })
  }
}
