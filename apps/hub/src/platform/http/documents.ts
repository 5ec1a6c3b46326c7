import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { API_ROOT, ProblemCode } from '@sendense/contracts'
import { AppError } from '@sendense/platform'
import express, { type Router } from 'express'

/** The documents that come with the Hub: OpenAPI, the page that shows it, and a page for each problem code. */
export function documents(docsDir: string): Router {
  const router = express.Router()
  router.get(`${API_ROOT}/openapi.json`, async (_req, res) => {
    res.type('application/json').send(await readDocument(join(docsDir, 'api/openapi.json')))
  })
  router.get('/problems/:code', async (req, res) => {
    // Only names that the contract has: what comes from a URL must not become a path.
    const code = ProblemCode.safeParse(req.params.code)
    if (!code.success) throw new AppError('not-found', { detail: 'There is no such problem code' })
    res.type('text/plain').send(await readDocument(join(docsDir, 'problems', `${code.data}.md`)))
  })
  router.get('/api/docs', (_req, res) => void res.type('html').send(PAGE))
  router.get('/api/docs/start.js', (_req, res) => void res.type('js').send(START))
  for (const name of ['swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png']) {
    router.get(`/api/docs/${name}`, (_req, res) => res.sendFile(name, { root: SWAGGER_DIR, maxAge: '1h' }))
  }
  return router
}

const require = createRequire(import.meta.url)
const SWAGGER_DIR = dirname(require.resolve('swagger-ui-dist/package.json'))

/** Nothing inline: the content security policy allows scripts and styles of our own files only. */
const PAGE = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>Sendense Hub API</title>
    <link rel="stylesheet" href="/api/docs/swagger-ui.css">
    <link rel="icon" href="/api/docs/favicon-32x32.png">
  </head>
  <body>
    <div id="api"></div>
    <script src="/api/docs/swagger-ui-bundle.js"></script>
    <script src="/api/docs/start.js"></script>
  </body>
</html>
`
const START = `SwaggerUIBundle({ url: '${API_ROOT}/openapi.json', dom_id: '#api', deepLinking: true, validatorUrl: null })\n`

async function readDocument(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw new AppError('not-found', { detail: 'This installation comes without its documents', cause })
  }
}
