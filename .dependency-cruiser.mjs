/**
 * ARCHITECTURE.md, "Who may import whom", as rules. Change both together.
 * `tools/check-boundaries.ts` runs them; `tools/check-boundaries.test.ts` breaks each of them once.
 */

/** The capabilities of the Hub by level. An import goes down or stays on its level; news goes up as events. */
export const CAPABILITY_LEVELS = [
  ['auth', 'health', 'jobs', 'progress', 'tunnel'],
  ['enrollment', 'inventory', 'vcenters', 'repositories'],
  ['policies'],
  ['backups', 'replications'],
  ['failover'],
]

const HUB = '^apps/hub/src'
const NODE = '^apps/node/src'
const TEST = String.raw`\.(test|suite|memory)\.tsx?$|/testing/|/test/`
const PRODUCTION = { path: '^(apps|packages)/', pathNot: TEST }

export default {
  forbidden: [
    rule(
      'imports-resolve',
      'What cannot be resolved is checked by no other rule.',
      {},
      { couldNotResolve: true },
    ),
    rule('no-cycles', 'A cycle means that two things are one.', {}, { circular: true }),

    rule('contracts-know-only-zod', 'They run in the browser too.', production('^packages/contracts/src'), {
      pathNot: ['^packages/contracts/', 'node_modules/zod/'],
    }),
    rule(
      'platform-stands-on-contracts',
      'Hub and Node stand on it; what it needs, both carry.',
      production('^packages/platform/src'),
      {
        pathNot: [
          '^packages/(platform|contracts)/',
          'node_modules/(@hpke/core|birpc|express|pino|uuid|ws|zod)/',
        ],
        dependencyTypesNot: ['core'],
      },
    ),
    rule('client-stands-on-contracts', 'It is made from the contract.', production('^packages/client/src'), {
      path: '^packages/',
      pathNot: '^packages/(client|contracts)/',
    }),
    rule(
      'vsphere-and-engine-stand-alone',
      'They know vSphere and disks, and nothing of the product around them.',
      production('^packages/(vsphere|engine)/src'),
      { path: '^packages/', pathNot: '^packages/$1/' },
    ),
    rule('packages-know-no-app', 'Dependencies point from apps to packages.', '^packages/', '^apps/'),

    rule('apps-are-islands', 'Apps talk over the contract.', '^apps/([^/]+)/', {
      path: '^apps/',
      pathNot: '^apps/$1/',
    }),
    // From platform it takes the pinned TLS connection, which the Node needs too.
    rule(
      'cli-speaks-through-the-client',
      'It can do what the API can, and no more.',
      production('^apps/cli/src'),
      {
        path: '^packages/',
        pathNot: '^packages/(client|contracts|platform)/',
      },
    ),
    rule(
      'hub-asks-the-node',
      'Only a Node speaks to a vCenter; the Hub is nobody’s client.',
      production(HUB),
      {
        path: '^packages/(vsphere|client)/',
      },
    ),
    rule(
      'production-knows-no-tooling',
      'What ships cannot need the checkout.',
      '^(apps|packages)/[^/]+/src',
      {
        path: '^(tests|tools|infra)/',
      },
    ),

    rule(
      'platform-knows-no-capability',
      'It is the floor.',
      '^apps/hub/src/platform',
      `${HUB}/(capabilities|data-plane|migrations|main|build-hub)`,
    ),
    rule(
      'capabilities-meet-at-index',
      'index.ts is the public face.',
      production(`${HUB}/capabilities/([^/]+)/`),
      {
        path: `${HUB}/capabilities/`,
        pathNot: [`${HUB}/capabilities/$1/`, String.raw`/capabilities/[^/]+/index\.ts$`],
      },
    ),
    ...CAPABILITY_LEVELS.slice(0, -1).map((names, level) =>
      rule(
        `capabilities-import-downwards-${level}`,
        'A capability builds on those below it; those above listen to its events.',
        production(capabilities(names)),
        capabilities(CAPABILITY_LEVELS.slice(level + 1).flat()),
      ),
    ),
    rule(
      'routes-call-services',
      'Never a store, never the database.',
      String.raw`\.routes\.ts$`,
      String.raw`\.store\.|\.entities\.|node_modules/typeorm/`,
    ),
    rule(
      'services-are-plain',
      'No HTTP, no database.',
      String.raw`\.service\.ts$`,
      String.raw`node_modules/(express|typeorm)/|\.routes\.|\.entities\.|\.store\.(typeorm|memory)\.`,
    ),
    rule(
      'only-stores-know-typeorm',
      'One kind of file speaks SQL.',
      {
        path: '^(apps|packages)/',
        pathNot: String.raw`\.(store\.typeorm|store\.typeorm\.test|entities|view)\.ts$|${HUB}/(platform/database|migrations)/`,
      },
      'node_modules/typeorm/',
    ),

    rule(
      'node-platform-knows-no-area',
      'It is the floor of the Node.',
      `${NODE}/platform`,
      `${NODE}/(?!platform/|testing/)`,
    ),
    rule(
      'only-engine-knows-native',
      'The binding has one door.',
      { path: '^(apps|packages|tests)/', pathNot: '^packages/engine/' },
      String.raw`\.node$|engine-napi`,
    ),
    rule('no-test-code-in-production', 'Fakes are for tests.', PRODUCTION, TEST),
  ],
  options: {
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '/dist/' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
      extensions: ['.ts', '.js', '.mjs', '.cjs', '.d.ts', '.json'],
    },
  },
}

function rule(name, comment, from, to) {
  const side = value => (typeof value === 'string' ? { path: value } : value)
  return { name, severity: 'error', comment, from: side(from), to: side(to) }
}

/** Tests may reach further than what they test. */
function production(path) {
  return { path, pathNot: TEST }
}

function capabilities(names) {
  return `${HUB}/capabilities/(${names.join('|')})/`
}
