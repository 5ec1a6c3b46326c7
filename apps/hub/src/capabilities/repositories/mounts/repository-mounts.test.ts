import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { memoryLog } from '@sendense/platform/testing'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { mount, unmount } from './mount-program.ts'
import { type MountSpec, mountSpecOf } from './mount-spec.ts'
import { mountedAt, parseMountInfo } from './mount-table.ts'
import { RepositoryMounts } from './repository-mounts.ts'

const run = promisify(execFile)
let folder: string
let mounts: RepositoryMounts
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sendense-mounts-'))
  mounts = new RepositoryMounts({ folder: join(folder, 'mounts'), log: memoryLog() })
})
afterEach(async () => {
  await mounts.detachAll()
  await rm(folder, { recursive: true })
})

/** A mount that every kernel has, through the same way as a share. */
function aTmpfs(spec: Partial<MountSpec> = {}): MountSpec {
  return { type: 'tmpfs', listedTypes: ['tmpfs'], source: 'sendense-test', options: ['size=1m'], ...spec }
}

describe('a share that is mounted', () => {
  test('is a real mount on a folder of its own, without programs, devices and other identities', async () => {
    const point = await mounts.attach('one', aTmpfs())
    expect(point).toBe(join(folder, 'mounts', 'one'))
    const entry = await mountedAt(point)
    expect(entry).toMatchObject({ type: 'tmpfs', source: 'sendense-test' })
    expect(entry?.options).toEqual(expect.arrayContaining(['nosuid', 'nodev', 'noexec', 'rw']))
    await writeFile(join(point, 'file'), 'x')
    expect(await readdir(point)).toEqual(['file'])
  })

  test('is used as it is when it is there already, as after a Hub that was killed', async () => {
    const point = await mounts.attach('one', aTmpfs())
    await writeFile(join(point, 'file'), 'x')
    const next = new RepositoryMounts({ folder: join(folder, 'mounts'), log: memoryLog() })
    expect(await next.attach('one', aTmpfs())).toBe(point)
    expect(await readdir(point)).toEqual(['file'])
    await next.detachAll()
    expect(await mountedAt(point)).toBeUndefined()
  })

  test('is mounted again when somebody took it away', async () => {
    const point = await mounts.attach('one', aTmpfs())
    await unmount(point)
    await mounts.attach('one', aTmpfs())
    expect(await mountedAt(point)).toBeDefined()
  })

  test('is gone after detaching, with its folder, and detaching again is fine', async () => {
    const point = await mounts.attach('one', aTmpfs())
    await mounts.detach('one')
    await mounts.detach('one')
    expect(await mountedAt(point)).toBeUndefined()
    expect(await readdir(join(folder, 'mounts'))).toEqual([])
  })
})

test('what a killed Hub has left is taken away, and no share that is in use', async () => {
  const [kept, test] = [await mounts.attach('kept', aTmpfs()), await mounts.attach('test-1', aTmpfs())]
  const next = new RepositoryMounts({ folder: join(folder, 'mounts'), log: memoryLog() })
  await next.attach('test-2', aTmpfs())
  for (const name of ['kept', 'test-1', 'test-2'])
    await writeFile(join(folder, 'mounts', `${name}.credentials`), 'password=x')
  await next.sweep(new Set(['kept']))
  expect(await mountedAt(test)).toBeUndefined()
  expect(await mountedAt(kept)).toBeDefined()
  // What is being mounted at this moment has its credentials there.
  expect((await readdir(join(folder, 'mounts'))).sort()).toEqual(['kept', 'test-2', 'test-2.credentials'])
  await next.detachAll()
})

test('a folder that is reached by a link is known by its own name', async () => {
  await mkdir(join(folder, 'data'))
  await symlink(join(folder, 'data'), join(folder, 'link'))
  const linked = new RepositoryMounts({ folder: join(folder, 'link', 'mounts'), log: memoryLog() })
  expect(await linked.attach('one', aTmpfs())).toBe(join(folder, 'data', 'mounts', 'one'))
  expect(await linked.isAttached('one')).toBe(true)
  await linked.checkWritable('one')
  await linked.detachAll()
  expect(await readdir(join(folder, 'data', 'mounts'))).toEqual([])
})

describe('a share that cannot be used', () => {
  test('is refused when something else is mounted in its place', async () => {
    const point = join(folder, 'mounts', 'one')
    await mkdir(point, { recursive: true })
    await mount(aTmpfs({ source: 'something-else' }), point)
    const attached = mounts.attach('one', aTmpfs())
    await expect(attached).rejects.toMatchObject({
      code: 'mount-failed',
      message: expect.stringContaining('something-else'),
    })
  })

  test('because it is read-only can be read, and is refused to who wants to write', async () => {
    await mounts.attach('one', aTmpfs({ options: ['ro'] }))
    await expect(mounts.checkWritable('one')).rejects.toMatchObject({
      code: 'mount-failed',
      message: expect.stringContaining('read-only'),
    })
  })

  test('because it is full can be read, and is refused to who wants to write', async () => {
    const point = await mounts.attach('one', aTmpfs())
    await mounts.checkWritable('one')
    await run('sh', ['-c', 'dd if=/dev/zero of="$0" bs=64k 2>&1 || true', join(point, 'filler')])
    expect(await mounts.attach('one', aTmpfs())).toBe(point)
    await expect(mounts.checkWritable('one')).rejects.toMatchObject({ code: 'mount-failed' })
    expect(await readdir(point)).toEqual(['filler'])
  })

  test('because nobody has mounted it is no folder to write to', async () => {
    await mkdir(join(folder, 'mounts', 'one'), { recursive: true })
    await expect(mounts.checkWritable('one')).rejects.toMatchObject({ code: 'mount-failed' })
  })

  test.each([
    [
      'nfs',
      mountSpecOf({ type: 'nfs', server: '127.0.0.1', exportPath: '/none', version: '4.1', folder: 'x' }),
    ],
    [
      'smb',
      mountSpecOf({
        type: 'smb',
        server: '127.0.0.1',
        share: 'none',
        username: 'u',
        password: 'a long secret',
        version: '3.1.1',
        folder: 'x',
      }),
    ],
  ])(
    'of type %s fails with the words of the mount program and a way out, and leaves nothing',
    async (_type, spec) => {
      const error = await mounts.attach('one', spec).catch(cause => cause)
      expect(error).toMatchObject({
        code: 'mount-failed',
        message: expect.stringMatching(/127\.0\.0\.1.*mount.*\./),
      })
      expect(error.message).not.toContain('a long secret')
      expect(await readdir(join(folder, 'mounts'))).toEqual([])
    },
  )
})

test('the credentials of a share stand in a private file and nowhere on the command line', async () => {
  // In the place of the mount program stands one that tells what it was given.
  const target = join(folder, 'point')
  const told = join(folder, 'told')
  const spec = { ...aTmpfs(), credentials: { username: 'hub', password: 'a long secret', domain: 'CORP' } }
  const bin = join(folder, 'bin')
  await mkdir(bin)
  const script = [
    '#!/bin/sh',
    `printf '%s\\n' "$@" > ${told}`,
    `cat ${target}.credentials >> ${told}.file`,
    `stat -c %a ${target}.credentials >> ${told}.file`,
  ]
  await writeFile(join(bin, 'mount'), script.join('\n'), { mode: 0o755 })
  // As a Hub leaves it that is killed meanwhile.
  await writeFile(`${target}.credentials`, 'old', { mode: 0o644 })
  await mount(spec, target, { searchPath: `${bin}:/usr/bin:/bin` })
  expect(await readFile(told, 'utf8')).not.toContain('a long secret')
  expect(await readFile(told, 'utf8')).toContain(`credentials=${target}.credentials`)
  expect(await readFile(`${told}.file`, 'utf8')).toBe(
    'username=hub\npassword=a long secret\ndomain=CORP\n600\n',
  )
  expect(await readdir(folder)).not.toContain('point.credentials')
})

test('a mount program that does not end is ended, with the helper that holds it up', async () => {
  const bin = join(folder, 'bin')
  await mkdir(bin)
  const script = `#!/bin/sh\nsh -c 'echo $$ > ${folder}/helper; exec sleep 600'\n`
  await writeFile(join(bin, 'mount'), script, { mode: 0o755 })
  const mounting = mount(aTmpfs(), join(folder, 'point'), {
    ...{ searchPath: `${bin}:/usr/bin:/bin`, timeoutMs: 500 },
  })
  await expect(mounting).rejects.toMatchObject({
    ...{ code: 'mount-failed', message: expect.stringContaining('did not end within 0.5 s') },
  })
  const helper = (await readFile(join(folder, 'helper'), 'utf8')).trim()
  await expect.poll(() => readFile(`/proc/${helper}/cmdline`, 'utf8').catch(() => '')).toBe('')
})

test.each(['fd00::1', '[fd00::1]'])(
  'the IPv6 address %s is written as each mount program wants it',
  server => {
    const nfs = { type: 'nfs', server, exportPath: '/srv', version: '4.2', folder: 'x' } as const
    expect(mountSpecOf(nfs)).toMatchObject({ source: '[fd00::1]:/srv' })
    const account = { username: 'hub', password: 'a long secret' }
    const smb = { type: 'smb', server, share: 'backups', version: '3.1.1', folder: 'x', ...account } as const
    expect(mountSpecOf(smb)).toMatchObject({ source: '//fd00::1/backups' })
  },
)

test('the kernel writes spaces as numbers', () => {
  const line = '42 27 0:39 / /mnt/a\\040b rw,nosuid shared:1 - nfs4 host:/x\\134y rw,vers=4.1'
  expect(parseMountInfo(`${line}\n`)).toEqual([
    { point: '/mnt/a b', type: 'nfs4', source: 'host:/x\\y', options: ['rw', 'nosuid'] },
  ])
})
