import type { Agent } from 'node:https'
import { createClientOf } from '@sendense/client'
import { hubApi, type Permission, ROLES, type Role, type Route } from '@sendense/contracts'
import { newId, pinnedAgent } from '@sendense/platform'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { buildTestHub, type TestHub } from './build-test-hub.ts'

/** Made from the contract, so that no endpoint can be forgotten. */
const ROUTES: [name: string, route: Route][] = Object.entries(hubApi).flatMap(([capability, routes]) =>
  Object.entries(routes).map(([name, route]): [string, Route] => [`${capability}.${name}`, route]),
)
const GUARDED = ROUTES.filter(([, route]) => route.permission !== 'public')
const PUBLIC = ROUTES.filter(([, route]) => route.permission === 'public')

let hub: TestHub
let agent: Agent

beforeAll(async () => {
  hub = await buildTestHub()
  agent = pinnedAgent(hub.address)
})
afterAll(async () => {
  agent.destroy()
  await hub[Symbol.asyncDispose]()
})

interface Answer {
  code: string
  detail?: string
}

/** Calls a route with ids that nobody has and with an empty body. */
async function call(route: Route, token?: string): Promise<Answer> {
  // Only the way to the handler is of interest: the answer is not parsed.
  const { response: _response, events: _events, ...bare } = route
  const client = createClientOf({ any: { route: bare } }, { baseUrl: hub.baseUrl, token, httpsAgent: agent })
  const ids = Object.fromEntries([...route.path.matchAll(/:(\w+)/g)].map(([, name]) => [name, newId()]))
  const send = client.any.route as (input: object) => Promise<void>
  try {
    await send({ params: ids, ...(route.body && { body: {} }) })
    return { code: 'ok' }
  } catch (error) {
    return (error as { problem: Answer }).problem
  }
}

/** The handler was reached: it, or the check of the input, has answered. */
function expectReached({ code, detail }: Answer): void {
  expect(['unauthenticated', 'forbidden', 'internal']).not.toContain(code)
  expect(detail ?? '').not.toContain('There is nothing at')
}

/** A role that does not hold the permission, and a role that does. */
function rolesFor(permission: Permission): { without: Role; having: Role } {
  const holds = (role: Role) => (ROLES[role] as readonly Permission[]).includes(permission)
  const roles = Object.keys(ROLES) as Role[]
  const [without, having] = [roles.find(role => !holds(role)), roles.find(holds)]
  if (!without || !having) throw new Error(`Nobody or everybody holds ${permission}`)
  return { without, having }
}

test('there are routes to look at', () => {
  expect(GUARDED.length).toBeGreaterThan(20)
  expect(PUBLIC.map(([name]) => name).sort()).toEqual([
    'auth.login',
    'enrollment.createNodeChallenge',
    'enrollment.createNodeToken',
    'enrollment.enroll',
    'enrollment.verifyEnrollment',
    'health.getHealth',
  ])
})

describe.each(GUARDED)('%s', (_name, route) => {
  const { without, having } = rolesFor(route.permission as Permission)

  test('refuses who has no token, or a wrong one', async () => {
    expect(await call(route)).toMatchObject({ code: 'unauthenticated' })
    expect(await call(route, 'x'.repeat(43))).toMatchObject({ code: 'unauthenticated' })
  })

  test('refuses who lacks the permission', async () => {
    expect(await call(route, await hub.tokenOf(without))).toMatchObject({ code: 'forbidden' })
  })

  test('is bound, and lets in who has the permission', async () => {
    expectReached(await call(route, await hub.tokenOf(having)))
  })
})

describe.each(PUBLIC)('%s', (_name, route) => {
  test('is bound, and asks for no token', async () => {
    expectReached(await call(route))
  })
})
