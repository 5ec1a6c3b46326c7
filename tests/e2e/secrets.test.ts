import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Vm } from '@sendense/contracts'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type AzureServer, startAzureServer } from '../support/azure-server.ts'
import { waitFor } from '../support/child.ts'
import { CliSession } from '../support/cli-session.ts'
import { ADMIN_PASSWORD } from '../support/hub-process.ts'
import { noise } from '../support/noise.ts'
import { familyOf } from '../support/our-processes.ts'
import { problemOf } from '../support/problem-of.ts'
import { RawDataPlane } from '../support/raw-data-plane.ts'
import { type RepositoryServer, startRepositoryServer } from '../support/repository-server.ts'
import { type S3Server, startS3Server } from '../support/s3-server.ts'
import { type SshServer, startSshServer } from '../support/ssh-server.ts'
import { type Stage, startStage } from '../support/stage.ts'

const MIB = 1024 * 1024
const VCENTER_PASSWORD = 'pw<of>&the"vCenter+% ß'
const WRONG_PASSWORD = 'a wrong <one> & "long"'
const SHARE_PASSWORD = 'the password of a share'

/** A place where a secret must not be, and what was found there. */
interface Place {
  readonly name: string
  readonly bytes: Buffer
}

let stage: Stage
let storage: Storage
let token: string
let captureId: string
/** Everything that can be seen from outside while a capture runs, and after it. */
let places: Place[]

beforeAll(async () => {
  storage = await startStorage()
  stage = await startStage({
    lab: { vms: [{ name: 'vm', disks: [{ sizeBytes: 24 * MIB }] }], password: VCENTER_PASSWORD },
    // The most talkative logs.
    hub: { SENDENSE_HUB_LOG_LEVEL: 'debug' },
    node: { SENDENSE_LOG_LEVEL: 'debug' },
  })
  const { lab, hub, admin, repository } = stage
  const body = { username: 'admin', password: ADMIN_PASSWORD }
  token = (await hub.client().auth.login({ body })).token
  await (await CliSession.logIn(hub)).json('backup', 'list')
  await addRepositories()
  const vm = await stage.addVm('vm')
  await lab.control.write({ vm: vm.moRef, key: 2000 }, 0, noise(20 * MIB, 'secrets'))
  await lab.control.vddkLatency(1_500_000)
  const started = await admin.backups.startBackup({ body: { vmId: vm.id, repositoryId: repository.id } })
  captureId = started.jobId
  const isReading = async () => (await lab.control.state()).vddkSessions > 0 || undefined
  await waitFor('the disk to be read', isReading)
  places = [...(await processPlaces()), ...(await filePlaces())]
  const late = await stage.finished(started.jobId)
  expect(late.state).toBe('succeeded')
  await failInEveryWay(vm)
  places.push(...(await filePlaces()), ...logPlaces(), ...(await answerPlaces()))
  // The repository server is compiled first, unless that was done before.
}, 900_000)
afterAll(async () => {
  await stage?.[Symbol.asyncDispose]()
  await storage?.[Symbol.asyncDispose]()
})

test('the search looks at what it should: processes, logs, database and files, and finds what is there', () => {
  const names = places.map(({ name }) => name)
  for (const part of [
    'nbdkit cmdline',
    'nbdkit environ',
    'node cmdline',
    'log of the Hub',
    'log of the Node',
  ]) {
    expect(
      names.some(name => name.includes(part)),
      part,
    ).toBe(true)
  }
  for (const file of ['hub.db', 'ledger.jsonl', 'identity.json', 'hub.json']) {
    expect(
      names.some(name => name.endsWith(file)),
      file,
    ).toBe(true)
  }
  expect(placesWith(stage.lab.user).some(name => name.includes('cmdline'))).toBe(true)
  expect(placesWith(stage.repository.id).some(name => name.includes('hub.db'))).toBe(true)
  expect(placesWith('The Hub is listening')).toEqual(['log of the Hub'])
  expect(placesWith('A capture did not succeed')).toEqual(['log of the Node'])
  expect(placesWith('Login failed for ***').some(name => name.startsWith('answer'))).toBe(true)
})

test.for<[string, () => string]>([
  ['vCenter password', () => VCENTER_PASSWORD],
  ['repository password', () => stage.repository.password],
  ['administrator password', () => ADMIN_PASSWORD],
  ['bearer token', () => token],
  ['wrong password that was tried', () => WRONG_PASSWORD],
  ['secret key of a bucket', () => storage.s3.secretAccessKey],
  ['key of an Azure account', () => storage.azure.accountKey],
  ['password for a repository server', () => storage.vault.password],
  ['private key for an SSH server', () => storage.ssh.privateKeyPem.split('\n')[2] ?? ''],
  ['password of a share', () => SHARE_PASSWORD],
])('the %s is nowhere in clear', async ([_what, secret]) => {
  expect(secret().length).toBeGreaterThan(10)
  for (const form of formsOf(secret())) expect(placesWith(form)).toEqual([])
})

test('no token of a session that lives stands anywhere, of a person or of a Node', async () => {
  // The database knows the tokens by their hashes: whatever looks like a token is compared with those.
  const hub = placesNamed('hub.db').map(({ bytes }) => bytes.toString('latin1'))
  const isLive = (candidate: string) => {
    const hash = createHash('sha256').update(candidate).digest('hex')
    return hub.some(text => text.includes(hash))
  }
  expect(isLive(token), 'the check knows a token when it sees one').toBe(true)
  expect(candidates().filter(isLive)).toEqual([])
})

test('no ticket of the capture stands anywhere', async () => {
  const { dataPlanePort: port, certificateSha256 } = stage.hub.file
  const access = { port, captureId, ticket: '', chunkBytes: MIB }
  const plane = new RawDataPlane(access, certificateSha256, 2000)
  const found = candidates()
  expect(found.length).toBeGreaterThan(0)
  for (const ticket of found) {
    expect(await plane.open(24 * MIB, 'complete', { ticket })).toMatchObject({ code: 'ticket-invalid' })
  }
})

/** Servers for each kind of place that takes a secret; shares need a machine of their own to be mounted. */
interface Storage extends AsyncDisposable {
  readonly s3: S3Server
  readonly azure: AzureServer
  readonly vault: RepositoryServer
  readonly ssh: SshServer
}

async function startStorage(): Promise<Storage> {
  await using starting = new AsyncDisposableStack()
  const s3 = starting.use(await startS3Server())
  await s3.makeBucket('backups')
  const azure = starting.use(await startAzureServer())
  await azure.makeContainer('backups')
  const vault = starting.use(await startRepositoryServer())
  const ssh = starting.use(await startSshServer())
  const all = starting.move()
  return { s3, azure, vault, ssh, [Symbol.asyncDispose]: () => all.disposeAsync() }
}

function storagePlaces() {
  const { s3, azure, vault, ssh } = storage
  const { endpoint, region, accessKeyId, secretAccessKey } = s3
  const { url, username, password, certificateSha256 } = vault
  const { port, username: user, folder: path, hostKey, privateKeyPem } = ssh
  const { account, accountKey } = azure
  return {
    bucket: { type: 's3', endpoint, region, bucket: 'backups', accessKeyId, secretAccessKey },
    container: { type: 'azure', endpoint: azure.endpoint, account, accountKey, container: 'backups' },
    vault: { type: 'rest', url, username, password, certificateSha256 },
    ssh: { type: 'sftp', host: '127.0.0.1', port, username: user, path, hostKey, privateKeyPem },
  } as const
}

/** Repositories that are made and stay, and places that fail although their secrets are right. */
async function addRepositories(): Promise<void> {
  const { repositories } = stage.admin
  const made = storagePlaces()
  for (const [name, place] of Object.entries(made)) {
    await repositories.createRepository({ body: { name, place } })
  }
  const share = { type: 'smb', server: '127.0.0.1', share: 'none' } as const
  const failing = [
    { ...made.bucket, bucket: 'none' },
    { ...made.container, container: 'none' },
    { ...made.vault, certificateSha256: 'a'.repeat(64) },
    { ...made.ssh, hostKey: storage.ssh.otherHostKey },
    { ...share, username: 'hub', password: SHARE_PASSWORD },
  ]
  for (const place of failing) {
    const problem = await problemOf(repositories.testRepositoryPlace({ body: { place } }))
    expect(problem.code, place.type).toMatch(/^(storage|mount|repository)-/)
  }
}

/** Errors are where secrets slip out: a password that is refused, and one that VMware's library echoes. */
async function failInEveryWay(vm: Vm): Promise<void> {
  const { lab, node, admin } = stage
  const { host, port, user: username, thumbprintSha256: thumbprint } = lab
  const body = {
    name: 'refused',
    nodeId: node.id,
    host,
    port,
    username,
    thumbprint,
    password: WRONG_PASSWORD,
  }
  expect(await problemOf(admin.vcenters.createVcenter({ body }))).toMatchObject({
    code: 'vcenter-credentials-invalid',
  })
  const login = { username: 'admin', password: WRONG_PASSWORD }
  expect(await problemOf(stage.hub.client().auth.login({ body: login }))).toMatchObject({
    code: 'credentials-invalid',
  })
  await lab.control.vddkLatency(0)
  await lab.control.vddkFail(`Login failed for ${VCENTER_PASSWORD}`)
  expect(await stage.backUp(vm)).toMatchObject({ status: 'failed' })
}

/** What the API tells an administrator. */
async function answerPlaces(): Promise<Place[]> {
  const { backups, jobs, vcenters, repositories, enrollment, inventory } = stage.admin
  const answers = {
    backups: await backups.listBackups(),
    jobs: await jobs.listJobs(),
    vcenters: await vcenters.listVcenters(),
    repositories: await repositories.listRepositories(),
    nodes: await enrollment.listNodes(),
    vms: await inventory.listVms(),
  }
  return Object.entries(answers).map(([name, answer]) => ({
    name: `answer ${name}`,
    bytes: Buffer.from(JSON.stringify(answer)),
  }))
}

/** Everything seen that could be 32 bytes in base64url. */
function candidates(): string[] {
  const found = places.flatMap(
    ({ bytes }) => bytes.toString('latin1').match(/(?<![\w-])[\w-]{43}(?![\w-])/g) ?? [],
  )
  return [...new Set(found)]
}

/** A secret as it is, and as it would stand in JSON, in a URL, in XML, or encoded without care. */
function formsOf(secret: string): string[] {
  const forms = [
    secret,
    JSON.stringify(secret).slice(1, -1),
    encodeURIComponent(secret),
    secret.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;'),
    Buffer.from(secret).toString('base64').replace(/=+$/, ''),
    Buffer.from(secret).toString('base64url'),
    Buffer.from(secret).toString('hex'),
  ]
  return [...new Set(forms)]
}

function placesWith(text: string): string[] {
  return places.filter(({ bytes }) => bytes.includes(text)).map(({ name }) => name)
}

function placesNamed(part: string): Place[] {
  return places.filter(({ name }) => name.includes(part))
}

/** Command lines and environments of Hub, Node, and what they have started. */
async function processPlaces(): Promise<Place[]> {
  const family = await familyOf([stage.hub.program.pid, stage.node.program.pid])
  const found = await Promise.all(
    family.map(async ({ pid, cmdline }) => {
      const name = `${cmdline.includes('nbdkit') ? 'nbdkit' : 'node'}`
      return [
        { name: `${name} cmdline ${pid}`, bytes: Buffer.from(cmdline) },
        { name: `${name} environ ${pid}`, bytes: await readFile(`/proc/${pid}/environ`) },
      ]
    }),
  )
  return found.flat()
}

function logPlaces(): Place[] {
  return [
    { name: 'log of the Hub', bytes: Buffer.from(stage.hub.program.log()) },
    { name: 'log of the Node', bytes: Buffer.from(stage.node.program.log()) },
  ]
}

/** Files that may hold a secret of their own kind, readable only by their owner. */
const SECRET_FILES = ['cli-session.json']

/** All files of Hub and Node, with the write-ahead log of the database. */
async function filePlaces(): Promise<Place[]> {
  const { hub, node } = stage
  const found = await Promise.all([hub.dir.path, node.dir.path].map(filesBelow))
  return found.flat().filter(({ name }) => !SECRET_FILES.some(file => name.endsWith(file)))
}

async function filesBelow(directory: string): Promise<Place[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const files = entries.filter(entry => entry.isFile()).map(entry => join(entry.parentPath, entry.name))
  // A file may be gone by the time it is read: a directory of a reader, the log of a database.
  const read = files.map(name =>
    readFile(name).then(
      bytes => [{ name, bytes }],
      () => [],
    ),
  )
  return (await Promise.all(read)).flat()
}
