import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import {
  type ApiMap,
  hubApi,
  NewRepositoryPlace,
  nodeApi,
  PERMISSIONS,
  type Permission,
  PROBLEMS,
  REASONS,
  ROLES,
  type Route,
} from './index.ts'

type Named = [name: string, route: Route]
const routesOf = (api: ApiMap): Named[] =>
  Object.entries(api).flatMap(([capability, routes]) =>
    Object.entries(routes).map(([name, route]): Named => [`${capability}.${name}`, route]),
  )
const HUB = routesOf(hubApi)
const NODE = routesOf(nodeApi)
const ALL = [...HUB, ...NODE.map(([name, route]): Named => [`node API: ${name}`, route])]

interface JsonSchema {
  $ref?: string
  description?: string
  properties?: Record<string, JsonSchema>
  $defs?: Record<string, JsonSchema>
  [name: string]: unknown
}

const toSchema = (schema: z.ZodType, io: 'input' | 'output') => z.toJSONSchema(schema, { io }) as JsonSchema

/** What a route takes and gives, as JSON Schema. */
function schemasOf(route: Route): JsonSchema[] {
  const { params, query, body, response, events } = route
  return [
    ...[params, query, body].filter(schema => schema !== undefined).map(schema => toSchema(schema, 'input')),
    ...[response, events].filter(schema => schema !== undefined).map(schema => toSchema(schema, 'output')),
  ]
}

/** The properties that people read about without being told what they mean. */
function undescribed(schema: unknown, path = ''): string[] {
  if (typeof schema !== 'object' || schema === null) return []
  const own = Object.entries((schema as JsonSchema).properties ?? {}).filter(
    ([, property]) => property.description === undefined && property.$ref === undefined,
  )
  const inner = Object.entries(schema).flatMap(([name, value]) => undescribed(value, `${path}/${name}`))
  return [...own.map(([name]) => `${path}/properties/${name}`), ...inner]
}

const idOf = (schema: z.ZodType | undefined) => schema?.meta()?.id

test('there are routes to look at', () => {
  expect(HUB.length).toBeGreaterThan(30)
  expect(NODE.length).toBeGreaterThan(2)
})

describe.each(ALL)('%s', (_name, route) => {
  test('says what it does, and names a permission that exists', () => {
    expect(route.summary).toMatch(/^[A-Z].*[^.]$/)
    expect(['public', ...Object.keys(PERMISSIONS)]).toContain(route.permission)
  })

  test('has a schema for exactly the parameters of its path', () => {
    const inPath = [...route.path.matchAll(/:(\w+)/g)].map(([, name]) => name)
    expect(Object.keys(route.params?.shape ?? {})).toEqual(inPath)
  })

  test('describes each property', () => {
    expect(schemasOf(route).flatMap(schema => undescribed(schema))).toEqual([])
  })

  test('has names for its body and its answer, and takes a body only where there is something to change', () => {
    if (route.body) {
      expect(idOf(route.body)).toMatch(/Request$/)
      expect(['post', 'put', 'patch']).toContain(route.method)
    }
    for (const schema of [route.response, route.events]) if (schema) expect(idOf(schema)).toBeDefined()
  })

  test('answers either a document or events, with a status that fits', () => {
    expect(route.response && route.events).toBeUndefined()
    if (route.status === 204) expect(route.response).toBeUndefined()
  })
})

describe.each([
  ['Hub', HUB],
  ['Node', NODE],
])('the API of the %s', (_name, routes) => {
  test('has each operation and each address once', () => {
    const names = routes.map(([name]) => name.split('.').at(-1))
    expect(new Set(names).size).toBe(names.length)
    const addresses = routes.map(([, { method, path }]) => `${method} ${path.replaceAll(/:\w+/g, ':')}`)
    expect(new Set(addresses).size).toBe(addresses.length)
  })

  test('never uses what it takes as what it gives', () => {
    const taken = routes.map(([, route]) => idOf(route.body)).filter(id => id !== undefined)
    const given = new Set(routes.map(([, route]) => idOf(route.response)))
    expect(taken.filter(id => given.has(id))).toEqual([])
    expect(new Set(taken).size).toBe(taken.length)
  })
})

test('a name means one schema in both APIs', () => {
  const meanings = new Map<string, Set<string>>()
  for (const schema of ALL.flatMap(([, route]) => schemasOf(route))) {
    for (const [id, named] of Object.entries(schema.$defs ?? {})) {
      meanings.set(id, (meanings.get(id) ?? new Set()).add(JSON.stringify(named)))
    }
  }
  expect(meanings.size).toBeGreaterThan(40)
  expect([...meanings].filter(([, texts]) => texts.size > 1).map(([id]) => id)).toEqual([])
})

describe('permissions', () => {
  test('each is held by a role and asked for by a route or by the tunnel', () => {
    const held = new Set<string>(Object.values(ROLES).flat())
    const asked = new Set<string>(ALL.map(([, route]) => route.permission))
    const names = Object.keys(PERMISSIONS) as Permission[]
    expect(names.filter(name => !held.has(name))).toEqual([])
    expect(names.filter(name => !asked.has(name))).toEqual(['node:tunnel'])
  })

  test('a viewer changes nothing but the own account', () => {
    const changing = HUB.filter(
      ([, route]) => route.method !== 'get' && (ROLES.viewer as readonly string[]).includes(route.permission),
    )
    expect(changing.map(([name]) => name)).toEqual(['auth.logout', 'auth.changePassword'])
  })

  test('a Node may connect and nothing else', () => {
    expect(ROLES.node).toEqual(['node:tunnel'])
  })
})

describe('words', () => {
  test.each([...Object.entries(PROBLEMS), ...Object.entries(REASONS)])(
    '%s has a title',
    (code, { title }) => {
      expect(code).toMatch(/^[a-z]+(-[a-z]+)*$/)
      expect(title).toMatch(/^(vSphere|[A-Z]).*[^.]$/)
    },
  )

  test.each(Object.entries(REASONS))('%s says what to do', (_code, { fix }) => {
    expect(fix).toMatch(/\.$/)
  })
})

describe("the address of a server of restic's REST protocol", () => {
  const isTaken = (url: string) =>
    NewRepositoryPlace.safeParse({ type: 'rest', url, username: 'hub', password: 'secret' }).success

  test.each([
    'https://backup.example/vault',
    'http://127.0.0.1:8420/',
    'http://[::1]:1/',
    'http://localhost/',
  ])('%s is taken', url => expect(isTaken(url)).toBe(true))
  test.each([
    'http://backup.example/vault',
    'http://127.0.0.1.example/',
    'http://localhost.example/',
    'ftp://a',
  ])('%s is refused: the password would be sent in clear', url => expect(isTaken(url)).toBe(false))
})
