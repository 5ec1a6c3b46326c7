import { createDocument, type ZodOpenApiOperationObject, type ZodOpenApiPathsObject } from 'zod-openapi'
import { PROBLEMS, Problem, type ProblemCode } from '../packages/contracts/src/problem.ts'
import type { ApiMap, Route } from '../packages/contracts/src/route.ts'

const ON_EVERY_ROUTE: ProblemCode[] = ['request-invalid', 'internal']
const ON_GUARDED_ROUTES: ProblemCode[] = ['unauthenticated', 'forbidden', 'password-change-required']

/** The OpenAPI 3.1 document of an API: what its routes say, and nothing that they do not. */
export function toOpenApi(
  api: ApiMap,
  { root, ...info }: { title: string; version: string; description: string; root: string },
): object {
  const paths: ZodOpenApiPathsObject = {}
  for (const [tag, routes] of Object.entries(api)) {
    for (const [operationId, route] of Object.entries(routes)) {
      const path = `${root}${route.path.replaceAll(/:(\w+)/g, '{$1}')}`
      paths[path] = { ...paths[path], [route.method]: toOperation(tag, operationId, route) }
    }
  }
  return createDocument({
    openapi: '3.1.1',
    info: { ...info, license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    tags: Object.keys(api).map(name => ({ name })),
    security: [{ bearer: [] }],
    paths,
    components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } },
  })
}

function toOperation(tag: string, operationId: string, route: Route): ZodOpenApiOperationObject {
  const isPublic = route.permission === 'public'
  return {
    operationId,
    tags: [tag],
    summary: route.summary,
    ...(route.description && { description: route.description }),
    ...(isPublic ? { security: [] } : { 'x-permission': route.permission }),
    requestParams: {
      ...(route.params && { path: route.params }),
      ...(route.query && { query: route.query }),
    },
    ...(route.body && {
      requestBody: { required: true, content: { 'application/json': { schema: route.body } } },
    }),
    responses: { ...successOf(route), ...problemsOf(route) },
  }
}

function successOf(route: Route): ZodOpenApiOperationObject['responses'] {
  const status = `${route.status ?? (route.response || route.events ? 200 : 204)}` as '200'
  const content = {
    ...(route.response && { 'application/json': { schema: route.response } }),
    ...(route.events && { 'text/event-stream': { schema: route.events } }),
  }
  const description = route.events ? 'A stream of events, each with this in its data' : 'Done'
  return { [status]: { description, ...(Object.keys(content).length > 0 && { content }) } }
}

function problemsOf(route: Route): ZodOpenApiOperationObject['responses'] {
  const guarded = route.permission === 'public' ? [] : ON_GUARDED_ROUTES
  const codes = [...new Set([...ON_EVERY_ROUTE, ...guarded, ...(route.problems ?? [])])]
  const byStatus = Map.groupBy(codes, code => PROBLEMS[code].status)
  const responses = [...byStatus].map(([status, ofStatus]) => [
    `${status}`,
    {
      description: ofStatus.map(code => `\`${code}\`: ${PROBLEMS[code].title}`).join('\n\n'),
      content: { 'application/problem+json': { schema: Problem } },
    },
  ])
  return Object.fromEntries(responses) as ZodOpenApiOperationObject['responses']
}
