import type { Client } from '@sendense/client'
import type { Repository } from '@sendense/contracts'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { MachineHub } from '../support/machine-hub.ts'
import { problemOf } from '../support/problem-of.ts'
import { ShareServers } from '../support/share-servers.ts'
import { finishedJob } from '../support/stage.ts'
import { startTestMachine, type TestMachine } from '../support/test-machine.ts'

const MIB = 1024 * 1024

// The machine is emulated, and beside other work much slower than alone.
vi.setConfig({ testTimeout: 15 * 60_000 })

let machine: TestMachine
let servers: ShareServers
let hub: MachineHub
let admin: Client

beforeAll(async () => {
  machine = await startTestMachine()
  await recordMountProgram()
  ;[servers, hub] = await Promise.all([ShareServers.start(machine), MachineHub.start(machine)])
  admin = await hub.administrator()
}, 30 * 60_000)
afterAll(() => machine?.[Symbol.asyncDispose]())

/** Whatever is given to the program that mounts SMB shares is written down; then it does its work. */
async function recordMountProgram(): Promise<void> {
  await machine.run(`
mkdir /opt/real
mv /usr/sbin/mount.cifs /opt/real/
cat >/usr/sbin/mount.cifs <<'PROGRAM'
#!/bin/bash
cat /proc/$PPID/cmdline /proc/$$/cmdline /proc/$$/environ | tr '\\0' '\\n' >>/run/mount.cifs.seen
exec /opt/real/mount.cifs "$@"
PROGRAM
chmod +x /usr/sbin/mount.cifs`)
}

function nfs(changed: { server?: string; exportPath?: string; version?: '3' | '4.2' } = {}) {
  return { type: 'nfs', server: servers.address, exportPath: '/backups', ...changed } as const
}

function smb(changed: { server?: string; share?: string; password?: string; version?: '2.1' } = {}) {
  return { type: 'smb', server: servers.address, share: 'backups', ...servers.account, ...changed } as const
}

const places = { nfs, smb }

/** The lines of the kernel's list for what the Hub has mounted. */
async function mounts(): Promise<string[]> {
  const text = await machine.run(`grep -F ' ${hub.dataDir}/mounts/' /proc/self/mountinfo || true`)
  return text.split('\n').filter(line => line !== '')
}

const point = ({ id }: Pick<Repository, 'id'>) => `${hub.dataDir}/mounts/${id}`

async function made(type: 'nfs' | 'smb'): Promise<Repository> {
  const [repository] = (await admin.repositories.listRepositories({ query: { type } })).items
  if (!repository) throw new Error(`There is no repository on ${type}`)
  return repository
}

describe.concurrent.each(['nfs', 'smb'] as const)('a share of %s', kind => {
  test('holds a repository that is written, measured and verified, and that stock restic finds whole', async () => {
    const { repositories } = admin
    const created = await repositories.createRepository({ body: { name: kind, place: places[kind]() } })
    const params = { repositoryId: created.repository.id }
    expect((await mounts()).filter(line => line.includes(params.repositoryId))).toEqual([
      expect.stringContaining(`${point(created.repository)} rw,nosuid,nodev,noexec`),
    ])
    const restic = (command: string) =>
      machine.run(`
export RESTIC_PASSWORD='${created.password}' RESTIC_REPOSITORY=${point(created.repository)}/sendense
restic --no-cache ${command}`)
    await machine.run(`mkdir /run/${kind}; head -c 3000000 /dev/urandom >/run/${kind}/noise`)
    await restic(`backup --quiet /run/${kind}`)
    const verify = await repositories.verifyRepository({ params, body: { scope: 'all' } })
    expect(await finishedJob(admin, verify.jobId)).toMatchObject({
      ...{ state: 'succeeded', result: { problems: [] } },
    })
    const { totalBytes, freeBytes, usedBytes } = await repositories.getRepositoryStorage({ params })
    expect(totalBytes).toBe(128 * MIB)
    expect(usedBytes).toBeGreaterThan(3_000_000)
    expect(freeBytes).toBeLessThan(126 * MIB)
    // Removes files, and writes an index.
    await restic('forget --quiet latest')
    const prune = await repositories.pruneRepository({ params, body: { exclusive: true } })
    expect(await finishedJob(admin, prune.jobId)).toMatchObject({ state: 'succeeded' })
    expect(await restic('check --read-data')).toContain('no errors were found')
    expect(await servers.run(`ls /srv/${kind}/backups/sendense`)).toContain('config')
  })
})

describe('a share that cannot be used', () => {
  const nobodyHome = '10.7.0.1'

  test('of NFS is told by what is wrong, and leaves nothing', async () => {
    await areRefused([
      [nfs({ exportPath: '/none' }), /No such file or directory\. Check the name of the export/],
      [nfs({ exportPath: '/none', version: '3' }), /denied by server.*\. Let the server admit this Hub/],
      [nfs({ exportPath: '/sealed' }), /read-only\. Let the server allow writing/],
      [nfs({ exportPath: '/full' }), /No space is left/],
      [nfs({ server: nobodyHome }), /Connection refused\. Check the name of the server/],
      [nfs({ server: 'no-such-host' }), /Check the name of the server/],
    ])
  })

  test('of SMB is told by what is wrong, and leaves nothing', async () => {
    await areRefused([
      [smb({ password: 'not the password' }), /error\(13\).*check user name and password/],
      [smb({ share: 'none' }), /error\(2\).*Check the name of the export or share/],
      [smb({ share: 'sealed' }), /cannot write there.*Check the rights of its account/],
      [smb({ share: 'full' }), /No space is left/],
      [smb({ server: nobodyHome }), /error\(111\).*Check the name of the server/],
      [smb({ server: 'no-such-host' }), /Check the name of the server/],
    ])
  })

  async function areRefused(places: [ReturnType<typeof nfs | typeof smb>, RegExp][]): Promise<void> {
    const state = () => Promise.all([mounts(), machine.run(`ls -A ${hub.dataDir}/mounts`)])
    const before = await state()
    for (const [place, words] of places) {
      const problem = await problemOf(admin.repositories.testRepositoryPlace({ body: { place } }))
      expect(problem).toEqual({ code: 'mount-failed', detail: expect.stringMatching(words) })
      if (place.type === 'smb') expect(problem.detail).not.toContain(place.password)
    }
    expect(await state()).toEqual(before)
  }

  test('of SMB with another password is not changed to', async () => {
    const params = { repositoryId: (await made('smb')).id }
    const change = (password: string) =>
      admin.repositories.updateRepository({ params, body: { credentials: { type: 'smb', password } } })
    expect(await problemOf(change('not the password'))).toMatchObject({ code: 'mount-failed' })
  })
})

test('other versions, slashes and addresses of the same places are mounted and recognized', async () => {
  const same = [
    nfs({ version: '3', exportPath: '/srv/nfs/backups' }),
    nfs({ version: '4.2', exportPath: '//backups/' }),
    nfs({ server: servers.addressV6 }),
    smb({ version: '2.1', share: 'BackUps' }),
    smb({ server: servers.addressV6 }),
    smb({ server: `[${servers.addressV6}]` }),
  ]
  for (const place of same) {
    const body = { place: { ...place, folder: 'none' } }
    expect(await admin.repositories.testRepositoryPlace({ body })).toMatchObject({
      isEmpty: true,
      isRepository: false,
    })
  }
})

test('the password of a share is not on a command line, in an environment, a list, a log or a file', async () => {
  const seen = await machine.run('cat /run/mount.cifs.seen')
  expect(seen).toMatch(/^credentials=|,credentials=/m)
  const listed = (await mounts()).join('\n')
  expect(listed).toContain(`username=${servers.account.username}`)
  expect(seen + listed + (await hub.log())).not.toContain(servers.account.password)
  expect(await machine.run(`find ${hub.dataDir}/mounts -maxdepth 1 -type f`)).toBe('')
})

test('a repository that is given up leaves its share as it is, and unmounted', async () => {
  const body = { name: 'other', place: { ...nfs(), folder: 'deep/other' } }
  const { repository } = await admin.repositories.createRepository({ body })
  expect(await mounts()).toHaveLength(3)
  await admin.repositories.deleteRepository({ params: { repositoryId: repository.id } })
  expect((await mounts()).join()).not.toContain(repository.id)
  expect(await servers.run('ls /srv/nfs/backups/deep/other')).toContain('config')
})

test('after a Hub that was killed, shares that are there are used, and others are mounted again', async () => {
  const repositories = await Promise.all([made('nfs'), made('smb')])
  await hub.kill()
  const left = await mounts()
  expect(left).toHaveLength(2)
  const [nfsRepository, smbRepository] = repositories
  await machine.run(`umount ${point(nfsRepository)}`)
  await hub.start()
  admin = await hub.administrator()
  for (const { id } of [nfsRepository, smbRepository]) {
    const storage = await admin.repositories.getRepositoryStorage({ params: { repositoryId: id } })
    expect(storage.totalBytes).toBe(128 * MIB)
  }
  const again = await mounts()
  expect(again).toHaveLength(2)
  expect(again).toContain(left.find(line => line.includes(smbRepository.id)))
})

test('a server that falls silent costs an error, but no wrong place and no Hub that hangs', async () => {
  const { repositories } = admin
  const [nfsRepository, smbRepository] = await Promise.all([made('nfs'), made('smb')])
  // One share somebody has unmounted: what is in its place now is a folder of the Hub.
  await machine.run(`umount ${point(smbRepository)}`)
  await servers.fallSilent()
  const [still, ...refused] = await Promise.all([
    made('nfs'),
    problemOf(repositories.testRepository({ params: { repositoryId: nfsRepository.id } })),
    problemOf(repositories.getRepositoryStorage({ params: { repositoryId: smbRepository.id } })),
  ])
  expect(still).toMatchObject({ id: nfsRepository.id })
  for (const problem of refused) {
    expect(problem).toMatchObject({
      ...{ code: 'mount-failed', detail: expect.stringContaining('Check the name of the server') },
    })
  }
  expect(await machine.run(`ls -A ${hub.dataDir}/mounts`)).toBe(`${nfsRepository.id}\n`)
  await hub.stop()
  expect(await mounts()).toEqual([])
  expect(await machine.run(`ls -A ${hub.dataDir}/mounts`)).toBe('')
})
