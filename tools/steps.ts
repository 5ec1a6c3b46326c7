/** One line of the table that `make test` prints. */
export interface Step {
  name: string
  /** A shell command, run in the root of the repository; `$REPORT` is a file of its own for a report. */
  command: string
  /** How its outcome is counted: a check is one test. */
  kind: 'check' | 'cargo' | 'go' | 'vitest'
  /** After this the step is ended and has failed. */
  timeLimitMinutes: number
}

const SET_UP: Step[] = [
  check('install packages', 'pnpm install --frozen-lockfile --reporter=append-only'),
  check('build the native engine', 'tools/build-native.sh', 30),
  check('build the repository server', 'cargo build --release --package sendense-repo-server', 30),
  check('build the vSphere lab', 'infra/vsphere-lab/build.sh', 15),
]

const CHECKS: Step[] = [
  check('format and lint', 'pnpm exec biome check --error-on-warnings .'),
  check('promises and throws', 'tools/oxlint.sh'),
  check('types', 'pnpm exec tsc --noEmit --project tsconfig.json'),
  check('layers', 'node tools/check-boundaries.ts'),
  check('unused code', 'pnpm exec knip'),
  check('licences of packages', 'node tools/check-licences.ts'),
  check('problem pages', 'node tools/check-problem-pages.ts'),
  check('links and paths of documents', 'node tools/check-links.ts'),
  check('generated documents', 'node tools/generate.ts --check'),
  check('nothing foreign in the tree', 'node tools/check-tree.ts'),
  check('Rust format', 'cargo fmt --all --check'),
  check('Rust lint', 'cargo clippy --release --workspace --all-targets -- -D warnings', 30),
  check('licences of crates', 'cargo deny check bans licenses sources'),
  check('Go format', 'test -z "$(gofmt -l infra/vsphere-lab | tee /dev/stderr)"'),
  check('Go vet', 'cd infra/vsphere-lab && go vet ./...'),
]

const TESTS: Step[] = [
  suite('Rust', 'cargo', 'cargo test --release --workspace --no-fail-fast', 45),
  suite('vSphere lab', 'go', 'cd infra/vsphere-lab && go test -json ./...', 15),
  vitest('unit', 10),
  vitest('mariadb', 10),
  vitest('integration', 20),
  vitest('e2e', 60),
]

/** What `make ready` and `make test` run, in this order. */
export const STEPS: Record<'ready' | 'test', Step[]> = {
  ready: CHECKS,
  test: [...SET_UP, ...CHECKS, ...TESTS],
}

function check(name: string, command: string, timeLimitMinutes = 10): Step {
  return { name, command, kind: 'check', timeLimitMinutes }
}

function suite(name: string, kind: Step['kind'], command: string, timeLimitMinutes: number): Step {
  return { name: `${name} tests`, command, kind, timeLimitMinutes }
}

function vitest(project: string, timeLimitMinutes: number): Step {
  const reporters = '--reporter=default --reporter=json --outputFile.json="$REPORT"'
  return suite(project, 'vitest', `pnpm exec vitest run --project ${project} ${reporters}`, timeLimitMinutes)
}
