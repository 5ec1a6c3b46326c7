import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { API_ROOT, hubApi } from '../packages/contracts/src/index.ts'
import { defineRoutes } from '../packages/contracts/src/route.ts'
import { generatedDocuments, staleDocuments } from './generate.ts'
import { toOpenApi } from './openapi.ts'

interface Document {
  paths: Record<string, Record<string, Operation>>
}
interface Operation {
  operationId: string
  responses: Record<string, { content?: Record<string, unknown> }>
  security?: unknown[]
}

const documents = await generatedDocuments()
const parse = (path: string) => JSON.parse(documents.get(path) ?? '') as Document
const operationsOf = (document: Document) =>
  Object.values(document.paths).flatMap(item => Object.values(item))

describe('the OpenAPI document of the Hub', () => {
  it('has each route of the contract once', () => {
    const names = Object.values(hubApi).flatMap(routes => Object.keys(routes))

    const operationIds = operationsOf(parse('docs/api/openapi.json')).map(({ operationId }) => operationId)

    expect(operationIds.sort()).toEqual(names.sort())
  })

  it('refers to nothing that it does not hold', () => {
    const document = parse('docs/api/openapi.json')
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)].map(
      ([, path]) => path ?? '',
    )

    expect(references.length).toBeGreaterThan(100)
    expect(references.filter(path => at(document, path) === undefined)).toEqual([])
  })
})

describe('a route', () => {
  const api = {
    things: defineRoutes({
      getThing: {
        method: 'get',
        path: '/things/:thingId/parts/:partId',
        summary: 'Get one',
        permission: 'jobs:read',
        response: z.object({ name: z.string() }),
        problems: ['not-found'],
      },
      pingThing: { method: 'post', path: '/things', summary: 'Ping', permission: 'public' },
      watchThings: {
        method: 'get',
        path: '/things',
        summary: 'Watch',
        permission: 'jobs:read',
        events: z.object({ name: z.string() }),
      },
    }),
  }
  const { paths } = toOpenApi(api, { title: 'T', version: '1', description: '', root: '/api' }) as Document

  it('stands at its full path with its parameters in braces', () => {
    expect(Object.keys(paths)).toEqual(['/api/things/{thingId}/parts/{partId}', '/api/things'])
  })

  it('answers the problems of every route and its own', () => {
    const responses = paths['/api/things/{thingId}/parts/{partId}']?.get?.responses ?? {}

    expect(Object.keys(responses)).toEqual(['200', '400', '401', '403', '404', '500'])
  })

  it('that is public asks for no token and cannot answer 401 or 403', () => {
    const operation = paths['/api/things']?.post

    expect(operation?.security).toEqual([])
    expect(Object.keys(operation?.responses ?? {})).toEqual(['204', '400', '500'])
  })

  it('with events answers a stream', () => {
    const content = paths['/api/things']?.get?.responses['200']?.content ?? {}

    expect(Object.keys(content)).toEqual(['text/event-stream'])
  })
})

describe('the page of permissions', () => {
  it('has a line for each route', () => {
    const page = documents.get('docs/api/permissions.md')

    expect(page).toContain(`| \`POST ${API_ROOT}/backups\` |`)
  })
})

describe('the reference', () => {
  const page = documents.get('docs/api/reference.md') ?? ''

  it('has a section for each route, with its permission and its handler', () => {
    for (const routes of Object.values(hubApi)) {
      for (const { method, path } of Object.values(routes)) {
        expect(page).toContain(`### ${method.toUpperCase()} ${API_ROOT}${path}\n`)
      }
    }
    expect(page).toContain('- permission: `backups:restore`')
    expect(page).toContain('apps/hub/src/capabilities/backups/backups.routes.ts')
  })
})

describe('the page of the database', () => {
  const page = documents.get('docs/api/db-schema.md') ?? ''

  it('has the tables with their owners, columns and references', () => {
    expect(page).toContain('## jobs\n\nOwned by jobs.')
    expect(page).toContain('| lock_key | varchar(190) | unique, may be empty |')
    expect(page).toContain('| job_id | varchar(36) | key, refers to jobs, restrict |')
    expect(page).toContain('## settings\n\nOwned by the platform.')
  })
})

describe('the check', () => {
  const page = new Map([['docs/a.json', '{}\n']])

  it('passes on the text that would be written', () => {
    expect(staleDocuments(page, () => '{}\n')).toEqual([])
  })

  it('names a document that is missing or older', () => {
    expect(staleDocuments(page, () => undefined)).toEqual(['docs/a.json'])
    expect(staleDocuments(page, () => '{ }\n')).toEqual(['docs/a.json'])
  })
})

function at(document: object, path: string): unknown {
  return path
    .split('/')
    .reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], document)
}

describe('the reference of the command line', () => {
  it('has a section for each command, with its options', () => {
    const page = documents.get('docs/cli.md') ?? ''

    expect(page).toContain('## sendense backup run <vm>')
    expect(page).toContain('`--repo <repository>`: where to (required)')
    expect(page.match(/^## sendense /gm)?.length).toBeGreaterThan(20)
  })
})
