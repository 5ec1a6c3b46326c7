import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { waitFor } from '../support/child.ts'
import { type Lab, startLab } from '../support/lab.ts'
import type { LabDiskRef } from '../support/lab-control.ts'
import { labParts } from '../support/lab-parts.ts'
import { makePrivateDir } from '../support/private-dir.ts'

const MIB = 1 << 20
const run = promisify(execFile)

/** A lab with one running VM of one disk that holds some data, and a snapshot of it. */
async function labWithSnapshot() {
  const lab = await startLab({ vms: [{ name: 'web [prod] ä', disks: [{ sizeBytes: 16 * MIB }] }] })
  const vm = await lab.control.vm('web [prod] ä')
  const disk = { vm: vm.ref, key: vm.disks[0]?.key ?? 0 }
  await lab.control.write(disk, MIB, randomText(3 * MIB))
  await lab.control.write(disk, 16 * MIB - 3, 'END')
  const snapshot = await lab.control.userSnapshot(vm.ref, 'backup')
  return { lab, disk, snapshot }
}

function randomText(length: number): string {
  return Array.from({ length: length / 16 }, (_, i) => `${i.toString(16).padStart(15, '.')}\n`).join('')
}

/** What nbdkit and its client did: the client's output, and everything nbdkit said. */
interface Session {
  readonly ok: boolean
  readonly stdout: string
  readonly stderr: string
}

interface ReadOptions {
  readonly snapshot?: string | undefined
  readonly file?: string
  readonly password?: string
  readonly thumbprint?: string
  readonly client: string
}

/** Opens a disk by nbdkit with the real plugin, and runs a client on it. */
async function nbdkit(lab: Lab, disk: LabDiskRef, options: ReadOptions): Promise<Session> {
  await using dir = await makePrivateDir('nbdkit')
  await writeFile(dir.join('password'), options.password ?? lab.password, { mode: 0o600 })
  const file = options.file ?? (await fileOf(lab, disk, options.snapshot))
  const parameters = [
    `libdir=${lab.vddk.libdir}`,
    `server=${lab.host}`,
    `port=${lab.port}`,
    `user=${lab.user}`,
    `password=+${dir.join('password')}`,
    `thumbprint=${options.thumbprint ?? lab.thumbprintSha1}`,
    `vm=moref=${disk.vm}`,
    ...(options.snapshot ? [`snapshot=${options.snapshot}`] : []),
    `file=${file}`,
    'transports=nbdssl',
  ]
  const args = ['-r', '-U', dir.join('socket'), lab.vddk.pluginPath, ...parameters, '--run', options.client]
  return await run('nbdkit', args).then(
    ({ stdout, stderr }) => ({ ok: true, stdout, stderr }),
    ({ stdout, stderr }: Session) => ({ ok: false, stdout, stderr }),
  )
}

async function fileOf(lab: Lab, disk: LabDiskRef, snapshot: string | undefined): Promise<string> {
  const vm = await lab.control.vm(disk.vm)
  const disks = snapshot ? vm.snapshots.find(s => s.ref === snapshot)?.disks : vm.disks
  return disks?.find(d => d.key === disk.key)?.file ?? 'no such disk'
}

test('CI reads through the plugin that production uses; elsewhere a stand-in may serve, loudly', async () => {
  const { pluginIsFallback } = await labParts()
  const mayBeFallback = process.env.CI === undefined
  expect(pluginIsFallback && !mayBeFallback, 'Debian package nbdkit-plugin-vddk could not be fetched').toBe(
    false,
  )
})

test('a snapshot is read through nbdkit as it was, whatever the guest writes afterwards', async () => {
  const { lab, disk, snapshot } = await labWithSnapshot()
  await using _ = lab
  await using dir = await makePrivateDir('copy')
  await lab.control.saveDisk(disk, dir.join('want'))
  await lab.control.write(disk, 0, 'AFTER')
  await lab.control.write(disk, 2 * MIB, 'AFTER')

  const copy = await nbdkit(lab, disk, { snapshot, client: `nbdcopy "$uri" ${dir.join('got')}` })

  expect(copy).toMatchObject({ ok: true })
  await run('cmp', [dir.join('want'), dir.join('got')])
  expect((await lab.control.state()).vddkSessions).toBe(0)
})

test('holes of the disk are seen by the client', async () => {
  const { lab, disk, snapshot } = await labWithSnapshot()
  await using _ = lab
  const map = await nbdkit(lab, disk, { snapshot, client: 'nbdinfo --map --json "$uri"' })
  const extents: { offset: number; length: number; description: string }[] = JSON.parse(map.stdout)
  expect(extents.map(({ offset, length, description }) => [offset, length, description])).toEqual([
    [0, MIB, 'hole,zero'],
    [MIB, 3 * MIB, 'data'],
    [4 * MIB, 12 * MIB - 65536, 'hole,zero'],
    [16 * MIB - 65536, 65536, 'data'],
  ])
})

test('a disk that cannot list its extents is still read', async () => {
  const { lab, disk, snapshot } = await labWithSnapshot()
  await using _ = lab
  await lab.control.vddkNoExtents(true)
  const map = await nbdkit(lab, disk, { snapshot, client: 'nbdinfo --map "$uri"' })
  expect(map.stdout.trim().split(/\s+/)).toEqual(['0', `${16 * MIB}`, '0', 'data'])
})

test('writes through VDDK reach a VM that is off', async () => {
  await using lab = await startLab({ vms: [{ name: 'off', powerState: 'off', disks: [{ sizeBytes: MIB }] }] })
  const vm = await lab.control.vm('off')
  const disk = { vm: vm.ref, key: 2000 }
  await using dir = await makePrivateDir('restore')
  await writeFile(dir.join('image'), randomText(MIB))
  await writeFile(dir.join('password'), lab.password)
  const parameters = `libdir=${lab.vddk.libdir} server=${lab.host} port=${lab.port} user=${lab.user} \
    password=+${dir.join('password')} thumbprint=${lab.thumbprintSha256} vm=moref=${vm.ref}`.split(/\s+/)
  const file = `file=${await fileOf(lab, disk, undefined)}`
  const client = `nbdcopy ${dir.join('image')} "$uri"`
  await run('nbdkit', ['-U', dir.join('socket'), lab.vddk.pluginPath, ...parameters, file, '--run', client])
  await lab.control.saveDisk(disk, dir.join('now'))
  await run('cmp', [dir.join('image'), dir.join('now')])
})

const refusals: Record<string, { options: Partial<ReadOptions>; reason: RegExp }> = {
  'a wrong password': { options: { password: 'wrong' }, reason: /Insufficient permissions/ },
  'a wrong thumbprint': { options: { thumbprint: '00:11' }, reason: /Unknown error/ },
  'an unknown snapshot': { options: { snapshot: 'snapshot-9999' }, reason: /snapshot was not found/ },
  'an unknown file': { options: { file: '[LocalDS_0] no/such.vmdk' }, reason: /file was not found/ },
  'the locked disk of a running VM': { options: { snapshot: undefined }, reason: /Failed to lock the file/ },
}

for (const [what, { options, reason }] of Object.entries(refusals)) {
  test(`${what} is refused, and nbdkit's stderr says why`, async () => {
    const { lab, disk, snapshot } = await labWithSnapshot()
    await using _ = lab
    const session = await nbdkit(lab, disk, { snapshot, client: 'nbdinfo "$uri"', ...options })
    expect(session.ok).toBe(false)
    expect(session.stderr).toMatch(reason)
    expect(session.stderr).not.toContain(lab.password)
  })
}

test('an open beyond the session limit is refused', async () => {
  const { lab, disk, snapshot } = await labWithSnapshot()
  await using _ = lab
  await lab.control.vddkLimit(1)
  await lab.control.vddkLatency(300_000)
  const first = nbdkit(lab, disk, { snapshot, client: 'nbdcopy --threads=1 --requests=1 "$uri" null:' })
  await waitFor('the first session', async () => (await lab.control.state()).vddkSessions || undefined)
  const session = await nbdkit(lab, disk, { snapshot, client: 'nbdinfo "$uri"' })
  expect(await first).toMatchObject({ ok: true })
  expect(session.ok).toBe(false)
  expect(session.stderr).toContain('NFC session limit reached')
})

test('a read error reaches the client', async () => {
  const { lab, disk, snapshot } = await labWithSnapshot()
  await using _ = lab
  await lab.control.vddkReadError(2 * MIB)
  const session = await nbdkit(lab, disk, { snapshot, client: 'nbdcopy "$uri" null:' })
  expect(session.ok).toBe(false)
  expect(session.stderr).toMatch(/Input\/output error|I\/O error/i)
})

test('a lab leaves neither process nor file behind', async () => {
  const { lab, disk, snapshot } = await labWithSnapshot()
  const flat = (await lab.control.vm(disk.vm)).snapshots.find(s => s.ref === snapshot)?.disks[0]?.flat
  await lab[Symbol.asyncDispose]()
  await expect(fetch(lab.controlUrl)).rejects.toThrow()
  await expect(run('ls', [flat ?? ''])).rejects.toThrow('No such file')
})
