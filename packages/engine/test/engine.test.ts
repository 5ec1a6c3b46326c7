import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import {
  type CaptureDiskCounters,
  captureDisk,
  createRateLimit,
  diskFileName,
  initRepository,
  openRepository,
  type RestoreCounters,
} from '../src/index.ts'
import { aCommit, CHUNK_BYTES, digestOf, PASSWORD, restic, SIZE_BYTES, startLab, writeImage } from './lab.ts'

const FILE = diskFileName('2000')

test('a disk goes from nbdkit into a repository and comes back as it was', async () => {
  await using lab = await startLab()
  const session = await lab.begin()
  await session.beginDisk({ diskKey: '2000', sizeBytes: SIZE_BYTES })
  const seen: CaptureDiskCounters[] = []
  const report = await captureDisk(lab.options(session), { onProgress: counters => seen.push(counters) })
  expect(report).toMatchObject({ logicalBytes: SIZE_BYTES, newBytes: 16 * CHUNK_BYTES + 4096 })
  expect(report.storedBytes).toBeGreaterThan(8 * CHUNK_BYTES)
  expect(report.storedBytes).toBeLessThan(9 * CHUNK_BYTES)
  expect(seen.at(-1)).toEqual(expect.objectContaining({ readBytes: report.readBytes }))
  expect(session.counters().disks).toMatchObject([
    { diskKey: '2000', finished: true, newBytes: report.newBytes },
  ])

  const { restorePointId } = await session.commit(aCommit())
  expect(session.isOpen).toBe(false)
  const targetPath = join(lab.folder, 'restored.raw')
  const restored: RestoreCounters[] = []
  const result = await lab.repository.restoreDisk(
    { restorePointId, file: FILE, targetPath, overwrite: false },
    { onProgress: counters => restored.push(counters) },
  )
  expect(result).toEqual({ path: targetPath, sizeBytes: SIZE_BYTES, writtenBytes: 16 * CHUNK_BYTES + 4096 })
  expect(restored.at(-1)).toMatchObject({ logicalBytes: SIZE_BYTES, doneBytes: SIZE_BYTES })
  expect(digestOf(targetPath)).toBe(digestOf(lab.image))
  expect(statSync(targetPath).blocks * 512).toBeLessThan(18 * CHUNK_BYTES)
})

test('captures keep the limits they share, also when those change meanwhile', async () => {
  await using lab = await startLab()
  const limit = await createRateLimit(CHUNK_BYTES)
  const options = { dataPlane: lab.dataPlane, chunkBytes: CHUNK_BYTES, idleTimeoutMs: 60_000 }
  const rateLimits = [limit, await createRateLimit(null)]
  const session = await lab.repository.beginCapture({ ...options, captureId: 'job-8', rateLimits })
  await session.beginDisk({ diskKey: '2000', sizeBytes: SIZE_BYTES })
  const capture = captureDisk(lab.options(session))
  const before = await Promise.race([capture, sleep(1500, 'still going')])
  expect(before).toBe('still going')
  await limit.setRate(null)
  expect((await capture).newBytes).toBe(16 * CHUNK_BYTES + 4096)
  await session.commit(aCommit())

  await expect(createRateLimit(-1)).rejects.toMatchObject({ code: 'request-invalid' })
  const foreign = { setRate: async () => undefined }
  const begun = lab.repository.beginCapture({ ...options, captureId: 'job-9', rateLimits: [foreign] })
  await expect(begun).rejects.toMatchObject({ code: 'request-invalid' })
})

test('stock restic reads what was written', async () => {
  await using lab = await startLab()
  const restorePointId = await lab.backUp()
  expect(restic(lab, 'check', '--read-data')).toContain('no errors were found')
  const target = join(lab.folder, 'by-restic')
  restic(lab, 'restore', restorePointId, '--target', target)
  const [directory = ''] = readdirSync(target)
  expect(directory).toBe('web_1 [blue]')
  expect(digestOf(join(target, directory, FILE))).toBe(digestOf(lab.image))
})

test('a restore point says of itself what it was given', async () => {
  await using lab = await startLab()
  const restorePointId = await lab.backUp()
  const { hostname, time, tags } = aCommit()
  const [restorePoint, ...others] = await lab.repository.restorePoints()
  expect(others).toEqual([])
  expect(restorePoint).toMatchObject({ id: restorePointId, hostname, time, tags })
  expect([...(restorePoint?.paths ?? [])].sort()).toEqual([FILE, 'vm.json'])
  expect(await lab.repository.readText(restorePointId, 'vm.json')).toBe('{"name":"web – ü"}')
  const storage = await lab.repository.storage()
  expect(storage.usedBytes).toBeGreaterThan(8 * CHUNK_BYTES)
  expect(storage.packCount).toBeGreaterThan(0)
  expect(storage.freeBytes).toBeLessThan(storage.totalBytes)
})

test('an incremental capture reads what changed, and both restore points stay whole', async () => {
  await using lab = await startLab()
  const full = await lab.backUp()
  const before = digestOf(lab.image)
  writeImage(lab.image, 5 * CHUNK_BYTES + 100, randomBytes(8192))
  const extents = [{ offset: 5 * CHUNK_BYTES, length: 65_536 }]
  const incremental = await lab.backUp({ kind: 'changed', extents }, full)
  for (const [restorePointId, digest] of [
    [full, before],
    [incremental, digestOf(lab.image)],
  ] as const) {
    const targetPath = join(lab.folder, `${restorePointId}.raw`)
    await lab.repository.restoreDisk({ restorePointId, file: FILE, targetPath, overwrite: false })
    expect(digestOf(targetPath)).toBe(digest)
  }
})

test('a base that cannot serve is told apart from other errors', async () => {
  await using lab = await startLab()
  const restorePointId = await lab.backUp()
  const session = await lab.begin('job-8')
  const begin = (sizeBytes: number, base: { restorePointId: string; file: string }) =>
    session.beginDisk({ diskKey: '2000', sizeBytes, base })
  const code = (code: string) => expect.objectContaining({ name: 'EngineError', code })
  await expect(begin(SIZE_BYTES + 512, { restorePointId, file: FILE })).rejects.toEqual(
    code('base-size-differs'),
  )
  await expect(begin(SIZE_BYTES, { restorePointId, file: 'disk-1.raw' })).rejects.toEqual(
    code('base-disk-missing'),
  )
  await lab.repository.forget(restorePointId)
  await expect(begin(SIZE_BYTES, { restorePointId, file: FILE })).rejects.toEqual(
    code('restore-point-missing'),
  )
})

test('verify and check look at everything, and find a damaged pack', async () => {
  await using lab = await startLab()
  const restorePointId = await lab.backUp()
  expect(await lab.repository.verify(restorePointId)).toMatchObject({ damaged: [], chunks: 19 })
  expect(await lab.repository.check({ readData: true })).toMatchObject({ problems: [], restorePoints: 1 })
  damagePack(lab.repositoryPath)
  const { damaged } = await lab.repository.verify(restorePointId)
  expect(damaged.length).toBeGreaterThan(0)
  const checked = await lab.repository.check({ readData: true })
  expect(checked.problems.length).toBeGreaterThan(0)
  const disk = { restorePointId, file: FILE, targetPath: join(lab.folder, 'restored.raw'), overwrite: false }
  await expect(lab.repository.restoreDisk(disk)).rejects.toMatchObject({ code: 'restore-point-damaged' })
  expect(existsSync(disk.targetPath)).toBe(false)
})

test('restore targets that cannot be used have their codes', async () => {
  await using lab = await startLab()
  const restorePointId = await lab.backUp()
  const existing = join(lab.folder, 'existing.raw')
  writeFileSync(existing, 'mine')
  for (const [targetPath, code] of [
    [existing, 'restore-target-exists'],
    ['relative.raw', 'restore-target-invalid'],
    [join(lab.folder, 'absent', 'disk.raw'), 'restore-target-invalid'],
    [lab.folder, 'restore-target-invalid'],
  ] as const) {
    const disk = { restorePointId, file: FILE, targetPath, overwrite: false }
    await expect(lab.repository.restoreDisk(disk)).rejects.toMatchObject({ code })
  }
  await lab.repository.restoreDisk({ restorePointId, file: FILE, targetPath: existing, overwrite: true })
  expect(digestOf(existing)).toBe(digestOf(lab.image))
})

test('opening and making repositories fails with codes', async () => {
  await using lab = await startLab()
  const place = { type: 'local', path: lab.repositoryPath } as const
  await expect(openRepository({ place, password: 'wrong' })).rejects.toMatchObject({
    code: 'repository-password-wrong',
  })
  await expect(initRepository({ place, password: PASSWORD })).rejects.toMatchObject({
    code: 'repository-exists',
  })
  const absent = { place: { ...place, path: join(lab.folder, 'absent') }, password: PASSWORD }
  await expect(openRepository(absent)).rejects.toMatchObject({ code: 'repository-not-found' })
  await expect(openRepository({ ...absent, place: { ...place, path: 'relative' } })).rejects.toMatchObject({
    code: 'request-invalid',
  })
  const again = await openRepository({ place, password: PASSWORD })
  expect(again.id).toBe(lab.repository.id)
  await again.close()
})

test('aborting the signal ends a capture, and the session can go on', async () => {
  await using lab = await startLab({ filters: ['delay'], parameters: ['rdelay=20'] })
  const session = await lab.begin()
  await session.beginDisk({ diskKey: '2000', sizeBytes: SIZE_BYTES })
  const begin = performance.now()
  const capture = captureDisk(lab.options(session), { signal: AbortSignal.timeout(200) })
  await expect(capture).rejects.toMatchObject({ code: 'cancelled' })
  expect(performance.now() - begin).toBeLessThan(3000)
  expect(session.isOpen).toBe(true)
  await session.abort()
  expect(session.isOpen).toBe(false)
  await expect(session.commit(aCommit())).rejects.toMatchObject({ code: 'capture-unknown' })
})

test('a wrong ticket, a wrong certificate and a Hub that is gone have their codes', async () => {
  await using lab = await startLab()
  const session = await lab.begin()
  await session.beginDisk({ diskKey: '2000', sizeBytes: SIZE_BYTES })
  const options = lab.options(session)
  const capture = (target: Partial<typeof options.target>) =>
    captureDisk({ ...options, target: { ...options.target, ...target }, limits: { hubGraceMs: 300 } })
  await expect(capture({ ticket: 'x'.repeat(43) })).rejects.toMatchObject({ code: 'ticket-invalid' })
  await expect(capture({ captureId: 'job-8' })).rejects.toMatchObject({ code: 'capture-unknown' })
  await expect(capture({ certificateSha256: 'ab'.repeat(32) })).rejects.toMatchObject({
    code: 'hub-certificate-mismatch',
    temporary: false,
  })
  await lab.dataPlane.close()
  await expect(capture({})).rejects.toMatchObject({ code: 'data-plane-unreachable', temporary: true })
})

test('a source that is not there, and arguments that make no sense, have their codes', async () => {
  await using lab = await startLab()
  const session = await lab.begin()
  await session.beginDisk({ diskKey: '2000', sizeBytes: SIZE_BYTES })
  const options = lab.options(session)
  const absent = { ...options, source: { socketPath: join(lab.folder, 'absent.sock') } }
  await expect(captureDisk(absent)).rejects.toMatchObject({ code: 'disk-open-failed' })
  const negative = { kind: 'changed', extents: [{ offset: -1, length: 1 }] } as const
  await expect(captureDisk({ ...options, areas: negative })).rejects.toMatchObject({
    code: 'request-invalid',
  })
  await expect(captureDisk({ ...options, diskKey: '../x' })).rejects.toMatchObject({
    code: 'request-invalid',
  })
  await expect(lab.begin('../x')).rejects.toMatchObject({ code: 'request-invalid' })
})

test('the native module keeps no thread busy and lets the process end', async () => {
  const script = `
    import { listenDataPlane } from '${new URL('../src/index.ts', import.meta.url).pathname}'
    await listenDataPlane({ host: '127.0.0.1', port: 0, certificatePem: '', privateKeyPem: '' }).catch(error => console.log(error.code))
  `
  const output = execFileSync(process.execPath, ['--input-type=module', '--eval', script], {
    timeout: 20_000,
  })
  expect(output.toString().trim()).toBe('request-invalid')
})

function damagePack(repositoryPath: string): void {
  const data = join(repositoryPath, 'data')
  const packs = readdirSync(data, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
  const largest = packs
    .map(entry => join(entry.parentPath, entry.name))
    .sort((one, other) => statSync(other).size - statSync(one).size)
    .at(0)
  if (largest === undefined) throw new Error('There is no pack to damage')
  execFileSync('chmod', ['u+w', largest])
  writeImage(largest, 1000, randomBytes(64))
}
