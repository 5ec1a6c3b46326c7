import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { promisify } from 'node:util'
import { makePrivateDir } from './private-dir.ts'
import { freePort, startServerChild } from './server-child.ts'

const REGION = 'us-east-1'
/** Its keys are for tests only. */
const KEYS = { accessKeyId: 'owner', secretAccessKey: 'owner-secret' } as const

/** An S3 server of others, with versions and object lock, on a free port and in a private directory. */
export interface S3Server extends AsyncDisposable {
  readonly endpoint: string
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** Makes a bucket; with `locked`, one that can protect what is in it. */
  makeBucket(name: string, options?: { locked?: boolean }): Promise<void>
}

/** Starts versitygw, which `infra/bootstrap.sh --checks` installs. */
export async function startS3Server(): Promise<S3Server> {
  await using building = new AsyncDisposableStack()
  const dir = building.use(await makePrivateDir('s3'))
  const folders = ['buckets', 'versions', 'accounts']
  for (const name of folders) await mkdir(dir.join(name))
  const port = await freePort()
  const options = [
    '--quiet',
    '--keep-alive',
    '--port',
    `127.0.0.1:${port}`,
    '--iam-dir',
    dir.join('accounts'),
  ]
  const storage = ['posix', '--versioning-dir', dir.join('versions'), dir.join('buckets')]
  const env = {
    PATH: process.env.PATH,
    ROOT_ACCESS_KEY: KEYS.accessKeyId,
    ROOT_SECRET_KEY: KEYS.secretAccessKey,
  }
  const args = [...options, ...storage]
  await startServerChild(building, { program: 'versitygw', args, port, options: { env } })
  const endpoint = `http://127.0.0.1:${port}`
  const owned = building.move()
  return {
    ...{ endpoint, region: REGION, ...KEYS },
    makeBucket: (name, { locked = false } = {}) => makeBucket(`${endpoint}/${name}`, locked),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** By a client that is not ours. */
async function makeBucket(url: string, locked: boolean): Promise<void> {
  const headers = [`x-amz-content-sha256: ${createHash('sha256').digest('hex')}`]
  if (locked) headers.push('x-amz-bucket-object-lock-enabled: true')
  await promisify(execFile)('curl', [
    ...['--silent', '--show-error', '--fail-with-body', '--request', 'PUT'],
    ...['--aws-sigv4', `aws:amz:${REGION}:s3`, '--user', `${KEYS.accessKeyId}:${KEYS.secretAccessKey}`],
    ...headers.flatMap(header => ['--header', header]),
    url,
  ])
}
