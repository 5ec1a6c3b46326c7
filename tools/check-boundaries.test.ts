import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import configuration from '../.dependency-cruiser.mjs'
import { checkBoundaries, complaintsOf } from './check-boundaries.ts'

let root: string

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sendense-boundaries-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

/** A small product in which every layer is used as it should be. Paths on the left import those on the right. */
const CLEAN: Record<string, string[]> = {
  'packages/contracts/src/index.ts': ['zod'],
  'packages/platform/src/index.ts': ['express', 'node:crypto', '../../contracts/src/index.ts'],
  'packages/client/src/index.ts': ['../../contracts/src/index.ts'],
  'packages/vsphere/src/index.ts': ['node:net'],
  'packages/engine/src/index.ts': ['../native/engine.node'],
  'packages/engine/native/engine.node': [],
  'packages/engine/test/engine.test.ts': ['../src/index.ts', '../../platform/src/index.ts'],
  'apps/cli/src/main.ts': [
    '../../../packages/client/src/index.ts',
    '../../../packages/platform/src/index.ts',
  ],
  'apps/node/src/main.ts': ['./platform/log.ts', '../../../packages/vsphere/src/index.ts'],
  'apps/node/src/platform/log.ts': [],
  'apps/hub/src/main.ts': ['./capabilities/backups/index.ts', './platform/database/database.ts'],
  'apps/hub/src/platform/database/database.ts': ['typeorm'],
  'apps/hub/src/migrations/0001-start.ts': ['typeorm'],
  'apps/hub/src/testing/fake-node.ts': [],
  'apps/hub/src/capabilities/auth/index.ts': [],
  'apps/hub/src/capabilities/inventory/index.ts': ['../auth/index.ts'],
  'apps/hub/src/capabilities/inventory/inventory.store.ts': [],
  'apps/hub/src/capabilities/policies/index.ts': ['../inventory/index.ts'],
  'apps/hub/src/capabilities/backups/index.ts': [
    './backups.routes.ts',
    '../inventory/index.ts',
    '../policies/index.ts',
  ],
  'apps/hub/src/capabilities/backups/backups.routes.ts': ['./backups.service.ts', 'express'],
  'apps/hub/src/capabilities/backups/backups.service.ts': ['./backups.store.ts'],
  'apps/hub/src/capabilities/backups/backups.store.ts': [],
  'apps/hub/src/capabilities/backups/backups.store.memory.ts': ['./backups.store.ts'],
  'apps/hub/src/capabilities/backups/backups.store.typeorm.ts': ['typeorm', './backups.entities.ts'],
  'apps/hub/src/capabilities/backups/backups.entities.ts': ['typeorm'],
  'apps/hub/src/capabilities/backups/backups.service.test.ts': [
    './backups.store.memory.ts',
    '../../testing/fake-node.ts',
    '../inventory/inventory.store.ts',
  ],
  'apps/hub/src/capabilities/failover/index.ts': ['../backups/index.ts'],
  'tests/e2e/backup.test.ts': ['../../apps/hub/src/main.ts'],
}

/** For each rule one import that breaks it and no other. */
const PLANTED: Record<string, { from: string; to: string | string[] }> = {
  'imports-resolve': { from: 'apps/node/src/planted.ts', to: './nowhere.ts' },
  'no-cycles': { from: 'apps/node/src/planted.ts', to: './planted.ts' },
  'contracts-know-only-zod': { from: 'packages/contracts/src/planted.ts', to: 'express' },
  'platform-stands-on-contracts': { from: 'packages/platform/src/planted.ts', to: 'axios' },
  'client-stands-on-contracts': {
    from: 'packages/client/src/planted.ts',
    to: '../../vsphere/src/index.ts',
  },
  'vsphere-and-engine-stand-alone': {
    from: 'packages/vsphere/src/planted.ts',
    to: '../../contracts/src/index.ts',
  },
  'packages-know-no-app': { from: 'packages/engine/src/planted.ts', to: '../../../apps/cli/src/main.ts' },
  'apps-are-islands': { from: 'apps/node/src/planted.ts', to: '../../hub/src/main.ts' },
  'cli-speaks-through-the-client': {
    from: 'apps/cli/src/planted.ts',
    to: '../../../packages/engine/src/index.ts',
  },
  'hub-asks-the-node': { from: 'apps/hub/src/planted.ts', to: '../../../packages/vsphere/src/index.ts' },
  'production-knows-no-tooling': { from: 'apps/cli/src/planted.ts', to: '../../../tools/planted-tool.ts' },
  'platform-knows-no-capability': {
    from: 'apps/hub/src/platform/planted.ts',
    to: '../capabilities/auth/index.ts',
  },
  'capabilities-meet-at-index': {
    from: 'apps/hub/src/capabilities/backups/planted.ts',
    to: '../inventory/inventory.store.ts',
  },
  'capabilities-import-downwards-0': {
    from: 'apps/hub/src/capabilities/auth/planted.ts',
    to: '../inventory/index.ts',
  },
  'capabilities-import-downwards-1': {
    from: 'apps/hub/src/capabilities/inventory/planted.ts',
    to: '../policies/index.ts',
  },
  'capabilities-import-downwards-2': {
    from: 'apps/hub/src/capabilities/policies/planted.ts',
    to: '../backups/index.ts',
  },
  'capabilities-import-downwards-3': {
    from: 'apps/hub/src/capabilities/backups/planted.ts',
    to: '../failover/index.ts',
  },
  'routes-call-services': {
    from: 'apps/hub/src/capabilities/backups/planted.routes.ts',
    to: './backups.store.ts',
  },
  'services-are-plain': { from: 'apps/hub/src/capabilities/backups/planted.service.ts', to: 'express' },
  'only-stores-know-typeorm': { from: 'apps/hub/src/capabilities/backups/planted.ts', to: 'typeorm' },
  'node-platform-knows-no-area': { from: 'apps/node/src/platform/planted.ts', to: '../captures/capture.ts' },
  'only-engine-knows-native': {
    from: 'apps/node/src/planted.ts',
    to: '../../../packages/engine/native/engine.node',
  },
  'no-test-code-in-production': { from: 'apps/hub/src/planted.ts', to: './testing/fake-node.ts' },
}

describe('the layer rules', () => {
  it('let a clean product pass', async () => {
    plantTree(CLEAN)

    expect(complaintsOf(await checkBoundaries(root))).toEqual([])
  })

  it.each(Object.entries(PLANTED))('%s fires alone on its planted import', async (rule, { from, to }) => {
    plantTree({ ...CLEAN, 'tools/planted-tool.ts': [], 'apps/node/src/captures/capture.ts': [] })
    plantTree({ [from]: [to].flat() })

    const { violations } = await checkBoundaries(root)

    expect(violations).toMatchObject([{ rule, from }])
  })

  it('have a planted import each', () => {
    expect(Object.keys(PLANTED).sort()).toEqual(configuration.forbidden.map(({ name }) => name).sort())
  })
})

describe('the check itself', () => {
  it('fails on a package of which it saw no module', async () => {
    plantTree(CLEAN)
    mkdirSync(join(root, 'packages/empty/src'), { recursive: true })

    expect(complaintsOf(await checkBoundaries(root))).toEqual(['packages/empty: no module was looked at'])
  })

  it('fails where there is nothing to look at', async () => {
    expect(complaintsOf(await checkBoundaries(root))).toEqual(['no app and no package was found'])
  })

  it('asks for the level of a new capability', async () => {
    plantTree({ ...CLEAN, 'apps/hub/src/capabilities/weather/index.ts': [] })

    expect(complaintsOf(await checkBoundaries(root))).toEqual([
      'apps/hub/src/capabilities/weather: give it a level in .dependency-cruiser.mjs',
    ])
  })
})

function plantTree(tree: Record<string, string[]>): void {
  for (const library of ['zod', 'express', 'typeorm', 'axios']) {
    plantFile(`node_modules/${library}/package.json`, `{ "name": "${library}", "main": "index.js" }`)
    plantFile(`node_modules/${library}/index.js`, '')
  }
  for (const [path, imports] of Object.entries(tree)) {
    plantFile(path, imports.map(specifier => `import '${specifier}'\n`).join(''))
  }
}

function plantFile(path: string, content: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), content)
}
