import { execFile, spawn } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { z } from 'zod'
import { stopChild, waitFor } from './child.ts'
import { makePrivateDir } from './private-dir.ts'

const ROOT = path.resolve(import.meta.dirname, '../..')
const run = promisify(execFile)

/** Our repository server on a free port, with a writer's credential and a window of a month. */
export interface RepositoryServer extends AsyncDisposable {
  readonly url: string
  readonly username: string
  readonly password: string
  readonly certificateSha256: string
  /** PEM, for programs that do not pin. */
  readonly certificatePath: string
}

/** Builds the server if its sources changed, and starts it as `infra/deploy` says. */
export async function startRepositoryServer(): Promise<RepositoryServer> {
  await using building = new AsyncDisposableStack()
  const program = await buildServer()
  const dir = building.use(await makePrivateDir('repository-server'))
  const credential = { username: 'hub', password: 'the password of the writer' }
  const [certificate, key, credentials] = [
    dir.join('cert.pem'),
    dir.join('key.pem'),
    dir.join('credentials.json'),
  ]
  await mkdir(dir.join('vault'), { mode: 0o700 })
  await makeCertificate(certificate, key)
  await addCredential(program, credentials, credential)
  const config = {
    ...{ listen: '127.0.0.1:0', tls: { certificate, key }, credentials },
    repositories: { vault: { folder: dir.join('vault'), windowDays: 30 } },
  }
  await writeFile(dir.join('config.json'), JSON.stringify(config))
  const child = spawn(program, ['serve', '--config', dir.join('config.json')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const killWithUs = () => child.kill('SIGKILL')
  process.once('exit', killWithUs)
  building.defer(async () => {
    await stopChild(child)
    process.off('exit', killWithUs)
  })
  let log = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text
  })
  const port = await waitFor('the repository server to listen', () => {
    if (child.exitCode !== null) throw new Error(`The repository server ended: ${log}`)
    return /listening on \S+:(\d+)/.exec(log)?.[1]
  })
  const { stdout } = await run(program, ['fingerprint', '--certificate', certificate])
  const owned = building.move()
  return {
    ...{ url: `https://127.0.0.1:${port}/vault/`, ...credential },
    ...{ certificateSha256: stdout.trim(), certificatePath: certificate },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

const BuiltProgram = z.object({ executable: z.string() })

async function buildServer(): Promise<string> {
  const args = ['build', '--release', '--package', 'sendense-repo-server', '--message-format', 'json']
  const { stdout } = await run('cargo', args, { cwd: ROOT, maxBuffer: 64 << 20 })
  const lines = stdout.split('\n').filter(line => line.includes('"executable":"'))
  return BuiltProgram.parse(JSON.parse(lines.at(-1) ?? '{}')).executable
}

async function makeCertificate(certificate: string, key: string): Promise<void> {
  await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
    ...['-subj', '/CN=vault', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', certificate],
  ])
}

async function addCredential(
  program: string,
  file: string,
  { username, password }: { username: string; password: string },
): Promise<void> {
  const args = ['credentials', 'add', username, '--file', file, '--role', 'writer', '--repository', 'vault']
  const adding = run(program, args)
  adding.child.stdin?.end(`${password}\n`)
  await adding
}
