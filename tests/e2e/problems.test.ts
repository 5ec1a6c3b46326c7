import { appendFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import type { Backup, JobId, ProblemCode, RepositoryId, StartedJob, Vm } from '@sendense/contracts'
import {
  generateSealingKeys,
  generateSigningKeys,
  newPairingSecret,
  parsePairingCode,
  sign,
} from '@sendense/platform'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { waitFor } from '../support/child.ts'
import { destroyVm } from '../support/foreign-tool.ts'
import { HubProcess } from '../support/hub-process.ts'
import { leftovers, untilNothingLeft } from '../support/leftovers.ts'
import { pairNode } from '../support/node-process.ts'
import { noise } from '../support/noise.ts'
import { makePrivateDir } from '../support/private-dir.ts'
import { hasPage, problemOf, type SeenProblem } from '../support/problem-of.ts'
import { frame, idOf, RawDataPlane } from '../support/raw-data-plane.ts'
import { restic } from '../support/restic.ts'
import { guestHashes, restoredHashes } from '../support/restored-disks.ts'
import { ScriptedNode } from '../support/scripted-node.ts'
import { mountSmallFileSystem } from '../support/small-file-system.ts'
import { type Stage, startStage } from '../support/stage.ts'

const MIB = 1024 * 1024
const KEY = 2000
/** What reads of a disk take in tests that have to meet a capture in its middle; many are under way at a time. */
const SLOW_US = 1_500_000

let stage: Stage
let small: Vm
let large: Vm
beforeAll(async () => {
  const vms = [
    { name: 'small', disks: [{ sizeBytes: 4 * MIB }] },
    { name: 'large', disks: [{ sizeBytes: 40 * MIB }], changeTracking: true },
    { name: 'doomed', disks: [{ sizeBytes: 4 * MIB }] },
  ]
  // What the taken-over Node sends is made for chunks of this size.
  stage = await startStage({ lab: { vms }, chunkBytes: 1_048_576 })
  small = await stage.addVm('small')
  large = await stage.addVm('large')
  await stage.lab.control.write({ vm: small.moRef, key: KEY }, 0, noise(MIB, 'small'))
  await stage.lab.control.write({ vm: large.moRef, key: KEY }, 0, noise(36 * MIB, 'large'))
})
afterAll(() => stage?.[Symbol.asyncDispose]())

/** Asserts a code, and that people find a page about it. */
async function expectCode(seen: SeenProblem | null, code: ProblemCode, inDetail = ''): Promise<void> {
  expect(seen).toMatchObject({ code, detail: expect.stringContaining(inDetail) })
  expect(await hasPage(code), `docs/problems/${code}.md`).toBe(true)
}

/** Backs up and expects that it fails in this way, and that nothing is left of it. */
async function expectFailure(vm: Vm, code: ProblemCode, inDetail = ''): Promise<Backup> {
  const backup = await stage.backUp(vm)
  expect(backup).toMatchObject({ status: 'failed', restorePointId: null })
  await expectCode(backup.failure, code, inDetail)
  expect(await stage.admin.jobs.getProgress({ params: { jobId: backup.jobId } })).toMatchObject({
    state: 'failed',
    failure: { code },
  })
  await untilNothingLeft(stage)
  return backup
}

describe('vCenter', () => {
  const vcenterBody = () => ({
    ...{ name: 'another', nodeId: stage.node.id, host: stage.lab.host, port: stage.lab.port },
    ...{ username: stage.lab.user, password: stage.lab.password, thumbprint: stage.lab.thumbprintSha256 },
  })
  const addVcenter = (changes: Partial<ReturnType<typeof vcenterBody>>) =>
    problemOf(stage.admin.vcenters.createVcenter({ body: { ...vcenterBody(), ...changes } }))

  test('a wrong password', async () => {
    await expectCode(await addVcenter({ password: 'wrong' }), 'vcenter-credentials-invalid')
  })

  test('a wrong thumbprint', async () => {
    await expectCode(await addVcenter({ thumbprint: '00'.repeat(32) }), 'vcenter-certificate-mismatch')
  })

  test('an address where nothing answers', async () => {
    await expectCode(await addVcenter({ port: 1 }), 'vcenter-unreachable')
  })

  test.for([
    // The first: afterwards the VM has its tracking.
    'VirtualMachine.Config.ChangeTracking',
    'VirtualMachine.State.CreateSnapshot',
    'VirtualMachine.Provisioning.DiskRandomRead',
  ])('the missing privilege %s is named', async privilege => {
    await stage.lab.control.missingPrivileges([privilege])
    await expectFailure(small, 'vcenter-permission-missing', privilege)
  })
  afterEach(() => stage.lab.control.missingPrivileges([]))

  test('a VM that is gone', async () => {
    const vm = await stage.addVm('doomed')
    await destroyVm(stage.lab, vm.moRef)
    await expectFailure(vm, 'vm-not-found', 'doomed')
    const { failed } = await stage.admin.inventory.addVms({
      body: { vcenterId: stage.vcenterId, instanceUuids: [vm.instanceUuid] },
    })
    await expectCode(failed[0] ?? null, 'vm-not-found')
  })

  test('a snapshot that vSphere cannot take', async () => {
    await stage.lab.control.fault({
      method: 'CreateSnapshot_Task',
      fault: 'SnapshotFault',
      inTask: true,
      count: 1,
    })
    await expectFailure(small, 'snapshot-failed')
  })
})

describe('disks', () => {
  afterEach(async () => {
    await stage.lab.control.vddkFail('')
    await stage.lab.control.vddkLimit(0)
    await stage.lab.control.vddkLatency(0)
    await stage.lab.control.vddkReadError(undefined)
  })

  test('a locked disk', async () => {
    await stage.lab.control.vddkFail('Failed to lock the file')
    await expectFailure(small, 'disk-locked')
  })

  test('a disk that cannot be read', async () => {
    await stage.lab.control.vddkReadError(512 * 1024)
    await expectFailure(small, 'disk-read-failed')
  })

  test('no connection left at the host, because another capture has the last one', async () => {
    await stage.lab.control.vddkLimit(1)
    await stage.lab.control.vddkLatency(400_000)
    const other = await startBackup(large)
    await waitFor('the only connection to be taken', async () => {
      const { vddkSessions } = await stage.lab.control.state()
      return vddkSessions === 1 && (await readBytesOf(other.jobId)) > 0 ? true : undefined
    })
    const starved = await stage.backUp(small)
    await expectCode(starved.failure, 'vddk-session-limit')
    // The other one made do with a single connection.
    await stage.finished(other.jobId)
    const backup = await stage.admin.backups.getBackup({ params: { backupId: other.backupId } })
    expect(backup).toMatchObject({ status: 'succeeded', failure: null })
    await untilNothingLeft(stage)
  })
})

describe('repository', () => {
  test('a full disk fails the backup that filled it and spares the restore points before', async () => {
    await using dir = await makePrivateDir('full')
    await using disk = await mountSmallFileSystem(dir, 24 * MIB)
    const { repository } = await stage.admin.repositories.createRepository({
      body: { name: 'soon full', place: { type: 'local', path: `${disk.path}/repository` } },
    })
    const first = await backUpTo(small, repository.id)
    expect(first.status).toBe('succeeded')
    const failed = await backUpTo(large, repository.id)
    expect(failed).toMatchObject({ status: 'failed', restorePointId: null })
    await expectCode(failed.failure, 'repository-full')
    await untilNothingLeft(stage)
    expect(await restoredHashes(stage, first)).toEqual(await guestHashes(stage, small, [KEY]))
    const query = { vmId: large.id, repositoryId: repository.id }
    expect((await stage.admin.backups.getBackupChain({ query })).backups).toEqual([])

    // A Hub that starts while not a byte can be stored there opens it all the same.
    await fillUp(disk.path)
    await stage.hub.killAndRestart()
    await stage.node.waitUntilConnected(stage.admin)
    expect(await restoredHashes(stage, first)).toEqual(await guestHashes(stage, small, [KEY]))
    await expectCode((await backUpTo(small, repository.id)).failure, 'repository-full')
    await waitFor('the summary to show it', async () => {
      const { short } = await stage.admin.repositories.getStorageSummary({})
      return short.find(({ repositoryId }) => repositoryId === repository.id)
    })
    await rm(join(disk.path, FILLER))
    expect(await backUpTo(small, repository.id)).toMatchObject({ status: 'succeeded', mode: 'incremental' })
  })
})

describe('jobs', () => {
  afterEach(() => stage.lab.control.vddkLatency(0))

  test('two backups of one VM at once, and the cancel of the one that runs', async () => {
    const { jobId, backupId } = await startSlowBackup()
    await expectCode(await problemOf(startBackup(large)), 'job-already-running')
    expect((await stage.lab.control.vm('large')).snapshots).toHaveLength(1)

    await stage.admin.jobs.cancelJob({ params: { jobId } })
    const job = await stage.finished(jobId)
    expect(job.state).toBe('cancelled')
    expect(await stage.admin.backups.getBackup({ params: { backupId } })).toMatchObject({
      status: 'cancelled',
      restorePointId: null,
    })
    await untilNothingLeft(stage)
    await expectCode(await problemOf(stage.admin.jobs.cancelJob({ params: { jobId } })), 'conflict')
  })

  test('a Hub that is stopped in the middle says so afterwards, and the next backup goes on', async () => {
    const { jobId, backupId } = await startSlowBackup()
    await stage.hub.program.stop()
    await stage.lab.control.vddkLatency(0)
    await stage.hub.restart()
    await stage.node.waitUntilConnected(stage.admin)
    expect(await stage.finished(jobId)).toMatchObject({ state: 'failed' })
    const { failure, status } = await stage.admin.backups.getBackup({ params: { backupId } })
    expect(status).toBe('failed')
    await expectCode(failure, 'job-interrupted')
    await untilNothingLeft(stage)
    const retry = await stage.backUpWell(large)
    expect(await restoredHashes(stage, retry)).toEqual(await guestHashes(stage, large, [KEY]))
  })

  test('a Hub that is killed in the middle, and comes back without its repository', async () => {
    const { jobId, backupId } = await startSlowBackup()
    const params = { backupId }
    await stage.hub.program.kill()
    await stage.lab.control.vddkLatency(0)
    const elsewhere = `${stage.repository.path}-elsewhere`
    await rename(stage.repository.path, elsewhere)
    await stage.hub.restart()
    await stage.node.waitUntilConnected(stage.admin)
    expect(await stage.finished(jobId)).toMatchObject({ state: 'failed' })
    const { failure, status } = await stage.admin.backups.getBackup({ params })
    expect(status).toBe('failed')
    await expectCode(failure, 'job-interrupted', 'its repository cannot be asked')
    await rename(elsewhere, stage.repository.path)
    await waitFor('the Node to have cleaned up', async () => {
      const { status } = await stage.backUp(large)
      return status === 'succeeded' || undefined
    })
    await untilNothingLeft(stage)
    expect(await stage.admin.backups.getBackup({ params })).toMatchObject({ status: 'failed', failure })
  })

  test('a VM that nobody knows', async () => {
    const vmId = crypto.randomUUID() as Vm['id']
    const start = stage.admin.backups.startBackup({ body: { vmId, repositoryId: stage.repository.id } })
    await expectCode(await problemOf(start), 'not-found')
  })
})

describe('pairing', () => {
  /** Pairs a new Node with this code and returns why that failed. */
  async function refusalOf(pairingCode: string): Promise<SeenProblem> {
    await using dir = await makePrivateDir('stranger')
    const settings = { SENDENSE_NODE_STATE_DIR: dir.join('n'), SENDENSE_NODE_NAME: 'stranger' }
    const error: Error = await pairNode(settings, stage.hub.url, pairingCode).then(
      () => new Error('The code was taken'),
      caught => caught,
    )
    return { code: /\(([a-z-]+)\)\s*$/.exec(error.message)?.[1] ?? error.message, detail: error.message }
  }
  const newCode = async (validForSeconds = 60) =>
    (await stage.admin.enrollment.createPairingCode({ body: { validForSeconds } })).pairingCode

  test('an expired code', async () => {
    const code = await newCode(1)
    await new Promise(resolve => setTimeout(resolve, 1100))
    await expectCode(await refusalOf(code), 'pairing-code-expired')
  })

  test('a code that was used already', async () => {
    const code = await newCode()
    expect((await refusalOf(code)).detail).toBe('The code was taken')
    await expectCode(await refusalOf(code), 'pairing-code-used')
  })

  test('a typing mistake, which nobody but the Node sees', async () => {
    const code = await newCode()
    const mistyped = (code.startsWith('2') ? '3' : '2') + code.slice(1)
    await expectCode(await refusalOf(mistyped), 'pairing-code-invalid', 'typing mistake')
    expect((await refusalOf(code)).detail).toBe('The code was taken')
  })

  test('a code that the Hub never gave out', async () => {
    const { certificateSha256Prefix } = parsePairingCode(await newCode())
    expect(stage.hub.file.certificateSha256.startsWith(certificateSha256Prefix)).toBe(true)
    const enrolling = stage.hub.client().enrollment.enroll({ body: enrollBody(newPairingSecret()) })
    await expectCode(await problemOf(enrolling), 'pairing-code-invalid')
  })

  test('a signature of another key', async () => {
    const { secret } = parsePairingCode(await newCode())
    const anonymous = stage.hub.client()
    const { nodeId, challenge } = await anonymous.enrollment.enroll({ body: enrollBody(secret) })
    const signature = sign(generateSigningKeys().privateKey, challenge)
    const verifying = anonymous.enrollment.verifyEnrollment({ body: { nodeId, challenge, signature } })
    await expectCode(await problemOf(verifying), 'signature-invalid')
    const approving = stage.admin.enrollment.approveNode({ params: { nodeId } })
    await expectCode(await problemOf(approving), 'conflict', 'pending-verification')
  })

  function enrollBody(pairingSecret: string) {
    const signingKey = generateSigningKeys().publicKey
    const sealingKey = generateSealingKeys().publicKey
    return { pairingSecret, name: 'stranger', version: '0', signingKey, sealingKey }
  }
})

describe('a Node that was taken over', () => {
  const SIZE = 3 * MIB + 512
  let node: ScriptedNode
  let plane: RawDataPlane
  let started: StartedJob
  const chunk = noise(MIB, 'chunk')
  const notOffered = noise(MIB, 'not offered')

  beforeAll(async () => {
    node = await ScriptedNode.start(stage.hub, stage.admin, SIZE)
    started = await startBackup(await node.addVm(stage.admin))
    const access = await node.openDisk(await node.nextOrder())
    plane = new RawDataPlane(access, stage.hub.file.certificateSha256, node.diskKey)
    expect(await plane.open(SIZE)).toMatchObject({ status: 200 })
    const answer = await plane.offer([{ index: 0, id: idOf(chunk) }])
    expect(answer).toMatchObject({ status: 200, body: expect.stringMatching(/^SDA1/) })
  })
  afterAll(() => node?.[Symbol.asyncDispose]())

  const damaged = Buffer.from(chunk)
  damaged.writeUInt8(damaged.readUInt8(77) ^ 1, 77)
  const bomb = zstdCompressSync(Buffer.alloc(64 * MIB))

  test.for<[string, ProblemCode, number, () => Promise<{ status: number; code: string | undefined }>]>([
    ['no ticket', 'ticket-invalid', 401, () => plane.open(SIZE, 'complete', { ticket: undefined })],
    ['a wrong ticket', 'ticket-invalid', 401, () => plane.open(SIZE, 'complete', { ticket: 'A'.repeat(43) })],
    [
      'no ticket for a capture that does not exist',
      'ticket-invalid',
      401,
      () => plane.open(SIZE, 'complete', { ticket: 'A'.repeat(43), captureId: 'other' }),
    ],
    ['another capture', 'capture-unknown', 404, () => plane.open(SIZE, 'complete', { captureId: 'other' })],
    ['another disk', 'capture-unknown', 404, () => plane.open(SIZE, 'complete', { diskKey: '9999' })],
    ['another version', 'protocol-mismatch', 409, () => plane.open(SIZE, 'complete', { version: 'v9' })],
    ['another magic', 'protocol-mismatch', 409, () => plane.post('chunks', Buffer.from('XXXX00000000'))],
    ['another size', 'capture-mismatch', 409, () => plane.open(SIZE + 512)],
    ['changes without a base', 'capture-mismatch', 409, () => plane.open(SIZE, 'changed')],
    ['another attempt', 'capture-mismatch', 409, () => plane.chunks([frame(chunk)], { attempt: 9 })],
    [
      'a chunk whose bytes were tampered with',
      'chunk-hash-mismatch',
      422,
      () => plane.chunks([frame(damaged, { id: idOf(chunk) })]),
    ],
    ['a chunk that was not offered', 'chunk-malformed', 400, () => plane.chunks([frame(notOffered)])],
    ['an unknown codec', 'chunk-malformed', 400, () => plane.chunks([frame(chunk, { codec: 7 })])],
    [
      'a compressed chunk that is damaged',
      'chunk-malformed',
      400,
      () => plane.chunks([frame(noise(1000, 'no zstd'), { id: idOf(chunk), plain: MIB, codec: 1 })]),
    ],
    [
      'a decompression bomb',
      'chunk-malformed',
      400,
      () => plane.chunks([frame(bomb, { id: idOf(chunk), plain: MIB, codec: 1 })]),
    ],
    [
      'a body that ends too early',
      'chunk-malformed',
      400,
      () => plane.chunks([frame(chunk).subarray(0, 5000)]),
    ],
    [
      'a frame that is too large',
      'frame-too-large',
      413,
      () => plane.chunks([frame(chunk, { plain: 64 * MIB, stored: 64 * MIB })]),
    ],
    [
      'a body that is too large',
      'frame-too-large',
      413,
      () => plane.chunks(Array.from({ length: 17 }, () => frame(chunk))),
    ],
    [
      'an offer that is too long',
      'frame-too-large',
      413,
      () => plane.offer(Array.from({ length: 1025 }, () => ({ index: 1, id: idOf(chunk) }))),
    ],
    ['an end before everything was offered', 'capture-incomplete', 409, () => plane.finish(1, 0)],
  ])('%s is %s', async ([_what, code, status, send]) => {
    expect(await send()).toMatchObject({ status, code })
    expect(await hasPage(code), `docs/problems/${code}.md`).toBe(true)
  })

  test('what is right is still taken, what is not whole is no restore point, and the ticket dies with it', async () => {
    // An open begins a new attempt; what went wrong before is forgotten.
    const { attempt } = JSON.parse((await plane.open(SIZE)).body) as { attempt: number }
    expect((await plane.offer([{ index: 0, id: idOf(chunk) }], { attempt })).status).toBe(200)
    expect(await plane.chunks([frame(chunk)], { attempt })).toMatchObject({ status: 200 })
    const bytes = { logicalBytes: SIZE, changedBytes: SIZE, readBytes: SIZE, newBytes: MIB, storedBytes: MIB }
    const { jobId } = started
    const committing = node.hub.commitCapture({ jobId, disks: [{ diskKey: node.diskKey, bytes }] })
    await expect(committing).rejects.toMatchObject({ code: 'capture-incomplete' })
    const failure = { code: 'capture-incomplete' as const, detail: 'given up' }
    await node.hub.finishCapture({ jobId, state: 'failed', failure, leftovers: [] })
    expect(await stage.finished(jobId)).toMatchObject({ state: 'failed' })
    expect(await plane.open(SIZE)).toMatchObject({ status: 401, code: 'ticket-invalid' })
    expect(await restic(stage, 'check', '--read-data')).toContain('no errors were found')
  })
})

describe('logging in', () => {
  test('a one-time password is only good for changing it, and guessing is slowed down', async () => {
    await using dir = await makePrivateDir('hub')
    await using hub = await HubProcess.start(dir)
    const password = await hub.oneTimePassword()
    const { token } = await hub.client().auth.login({ body: { username: 'admin', password } })
    await expectCode(await problemOf(hub.client(token).inventory.listVms()), 'password-change-required')

    const codes: string[] = []
    for (let guess = 0; guess < 21; guess += 1) {
      const login = hub.client().auth.login({ body: { username: 'admin', password: `guess ${guess}` } })
      const seen = await problemOf(login)
      codes.push(seen.code)
      await expectCode(seen, guess < 20 ? 'credentials-invalid' : 'too-many-requests')
    }
    expect(codes).toHaveLength(21)
  })
})

// The last one: the stage has no Node afterwards.
test('a revoked Node is cut off within a second, its capture ends, and it cleans up after itself', async () => {
  const { backupId, jobId } = await startSlowBackup()
  const reason = 'stolen'
  await stage.admin.enrollment.revokeNode({ params: { nodeId: stage.node.id }, body: { reason } })
  await waitFor(
    'the Node to lose its connection',
    () => /The connection to the Hub has ended/.test(stage.node.program.log()) || undefined,
    1000,
  )
  await stage.finished(jobId)
  const { failure } = await stage.admin.backups.getBackup({ params: { backupId } })
  await expectCode(failure, 'node-revoked')
  // All but the last word on the capture, which nobody takes from this Node any more.
  await waitFor('the clean-up', async () => {
    const left = await leftovers(stage)
    return left.every(what => what === 'ledger entry capture') || undefined
  })
  expect((await stage.lab.control.vm('large')).snapshots).toEqual([])
  await expectCode(await problemOf(startBackup(large)), 'node-unreachable')
})

function startBackup(vm: Vm, mode: 'auto' | 'full' = 'auto'): Promise<StartedJob> {
  return stage.admin.backups.startBackup({ body: { vmId: vm.id, repositoryId: stage.repository.id, mode } })
}

/** A full backup of the large VM that reads its disk and will do so for a while. */
async function startSlowBackup(): Promise<StartedJob> {
  await stage.lab.control.vddkLatency(SLOW_US)
  const started = await startBackup(large, 'full')
  const isReading = async () => (await stage.lab.control.state()).vddkSessions > 0 || undefined
  await waitFor('the disk to be read', isReading)
  return started
}

async function backUpTo(vm: Vm, repositoryId: RepositoryId): Promise<Backup> {
  const { jobId, backupId } = await stage.admin.backups.startBackup({ body: { vmId: vm.id, repositoryId } })
  await stage.finished(jobId)
  return stage.admin.backups.getBackup({ params: { backupId } })
}

async function readBytesOf(jobId: JobId): Promise<number> {
  return (await stage.admin.jobs.getProgress({ params: { jobId } })).bytes.readBytes
}

const FILLER = 'filler'

async function fillUp(folder: string): Promise<void> {
  for (let size = MIB; size > 0; ) {
    const isFull = await appendFile(join(folder, FILLER), new Uint8Array(size)).then(
      () => false,
      () => true,
    )
    if (isFull) size = size === 1 ? 0 : size / 16
  }
}
