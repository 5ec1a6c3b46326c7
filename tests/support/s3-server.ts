import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { promisify } from 'node:util'
import { stopChild, waitFor } from './child.ts'
import { makePrivateDir } from './private-dir.ts'

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
  const child = spawn('versitygw', [...options, ...storage], { env, stdio: 'ignore' })
  const killWithUs = () => child.kill('SIGKILL')
  process.once('exit', killWithUs)
  building.defer(async () => {
    await stopChild(child)
    process.off('exit', killWithUs)
  })
  let failure: Error | undefined
  child.once('error', error => {
    failure = new Error('versitygw does not start; install it with infra/bootstrap.sh --checks', {
      cause: error,
    })
  })
  child.once('exit', code => {
    failure ??= new Error(`versitygw ended with ${code}`)
  })
  await waitFor('versitygw to listen', () => {
    if (failure) throw failure
    return listens(port)
  })
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

/** The server cannot choose a port itself and tell which. */
async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise(resolve => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('The system gave no port')
  return address.port
}

function listens(port: number): Promise<true | undefined> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(undefined))
  })
}
