/**
 * The main job from beginning to end, on real parts: a simulated vCenter with VMs that hold real file systems, the
 * Hub, a Node, and the command line that a person would use. Ends by itself when nobody watches; on a terminal it
 * stays up until Ctrl-C.
 */
import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import type { Backup, NodeView, Progress, Vcenter, Vm } from '@sendense/contracts'
import { formatBytes } from '../apps/cli/src/format.ts'
import { HubProcess } from '../tests/support/hub-process.ts'
import { type Lab, startLab } from '../tests/support/lab.ts'
import { NodeProcess } from '../tests/support/node-process.ts'
import { makePrivateDir, type PrivateDir } from '../tests/support/private-dir.ts'
import { CommandLine } from './demo/command-line.ts'
import { changeGuestDisk, makeGuestDisk } from './demo/guest-disk.ts'
import { Teller } from './demo/teller.ts'

const run = promisify(execFile)
const MIB = 1024 * 1024

const DISKS = [
  { vm: 'web1', label: 'web', sizeMib: 512, dataMib: 96 },
  { vm: 'db1', label: 'system', sizeMib: 512, dataMib: 120 },
  { vm: 'db1', label: 'database', sizeMib: 1024, dataMib: 400 },
  { vm: 'files [archive]', label: 'archive', sizeMib: 512, dataMib: 64 },
] as const
const BACKED_UP = 'db1'

interface Demo {
  teller: Teller
  dir: PrivateDir
  lab: Lab
  hub: HubProcess
  cli: CommandLine
}

await main()

async function main(): Promise<void> {
  const teller = new Teller(text => void process.stdout.write(text))
  await using stage = new AsyncDisposableStack()
  const demo = await setUp(teller, stage)
  await backUpAndRestore(demo)
  teller.say(`\nDone in ${teller.elapsed}.`)
  teller.say(`  Hub and API      ${demo.hub.url}/api/v1`)
  teller.say(`  API documents    ${demo.hub.url}/api/docs`)
  if (process.stdout.isTTY) await untilInterrupted(demo)
}

async function setUp(teller: Teller, stage: AsyncDisposableStack): Promise<Demo> {
  teller.say('Sendense demo: back up a VM, change it, back up the change, bring it back.\n')
  const dir = stage.use(await makePrivateDir('demo'))
  await teller.step('Make guest disks with ext4 file systems', () =>
    Promise.all(DISKS.map(disk => makeGuestDisk(imageOf(dir, disk.label), disk))),
  )
  const names = [...new Set(DISKS.map(disk => disk.vm))]
  const vms = names.map(name => ({
    name,
    disks: DISKS.filter(disk => disk.vm === name).map(({ label, sizeMib }) => ({
      sizeBytes: sizeMib * MIB,
      image: imageOf(dir, label),
    })),
  }))
  const lab = stage.use(await teller.step('Start a vCenter with these VMs', () => startLab({ vms })))
  const hub = stage.use(await teller.step('Start the Hub', () => HubProcess.start(dir)))
  const cli = new CommandLine(dir.join('session.json'))
  const demo: Demo = { teller, dir, lab, hub, cli }
  await logIn(demo)
  await pairNode(demo, stage)
  return demo
}

async function logIn({ teller, hub, cli, dir }: Demo): Promise<void> {
  await teller.step('Log in, and replace the one-time password', async () => {
    const login = ['login', '--hub-file', `${hub.dataDir}/hub.json`, '--password-stdin']
    const [oneTime, own] = [await hub.oneTimePassword(), randomBytes(12).toString('base64url')]
    await cli.run(login, oneTime)
    await cli.run(['password', '--stdin'], `${oneTime}\n${own}`)
    await cli.run(login, own)
    await writeFile(dir.join('admin-password'), own, { mode: 0o600 })
  })
}

async function pairNode({ teller, dir, lab, hub, cli }: Demo, stage: AsyncDisposableStack): Promise<void> {
  await teller.step(
    'Pair a Node with a one-time code, and approve it',
    async () => {
      const node = stage.use(await NodeProcess.pair(dir, hub, lab, () => pairingCode(cli)))
      const approved = await cli.run<NodeView>(['node', 'approve', node.id])
      await node.waitUntil(async () => (await cli.run<NodeView>(['node', 'show', node.id])).isConnected)
      return approved
    },
    node => `key ${node.keyFingerprint.slice(0, 16)}…, compared on both sides`,
  )
  await teller.step('Add the vCenter; its password is sealed to the Node', () =>
    cli.run<Vcenter>(
      [
        ...['vcenter', 'add', lab.host, '--port', String(lab.port), '--name', 'lab', '--node', 'site-a'],
        ...['--username', lab.user, '--thumbprint', lab.thumbprintSha256, '--password-stdin'],
      ],
      lab.password,
    ),
  )
  await teller.step(
    'Discover the VMs and add them',
    () => cli.run<{ added: Vm[] }>(['discover', 'lab', '--add-all']),
    ({ added }) => added.map(vm => vm.name).join(', '),
  )
}

async function pairingCode(cli: CommandLine): Promise<string> {
  return (await cli.run<{ pairingCode: string }>(['node', 'pair'])).pairingCode
}

async function backUpAndRestore(demo: Demo): Promise<void> {
  const { teller, cli, dir } = demo
  const repository = dir.join('repository')
  const { password } = await teller.step('Make a repository', () =>
    cli.run<{ password: string }>(['repository', 'add', 'local', 'main', repository]),
  )
  const backUp = () => cli.run<Backup>(['backup', 'run', BACKED_UP, '--repo', 'main'])
  await teller.step(`Back up ${BACKED_UP} for the first time`, backUp, describe)
  const changedDisk = await changeGuest(demo)
  const second = await teller.step(`Back up ${BACKED_UP} again`, backUp, describe)
  await teller.step('Verify: read every byte back', () => cli.run(['backup', 'verify', second.id]))
  await teller.step('Restore both disks and compare them with the VM', () =>
    restoreAll(demo, second, changedDisk),
  )
  await teller.step(
    'Let stock restic check every byte of the repository',
    () => resticCheck(dir, repository, password),
    words => words,
  )
}

/** The guest writes to its second disk; returns the device key. */
async function changeGuest({ teller, lab, dir }: Demo): Promise<number> {
  const vm = await lab.control.vm(BACKED_UP)
  const key = vm.disks[1]?.key ?? 0
  await teller.step(
    'The guest writes new files',
    () => changeGuestDisk(lab.control, { vm: vm.ref, key }, imageOf(dir, 'database')),
    bytes => `${formatBytes(bytes)} changed on disk ${key}`,
  )
  return key
}

async function restoreAll({ cli, lab, dir }: Demo, backup: Backup, changedDisk: number): Promise<void> {
  const { ref } = await lab.control.vm(BACKED_UP)
  for (const { key } of backup.disks) {
    const restored = await cli.run<NonNullable<Progress['result']>>([
      'restore',
      'disk',
      backup.id,
      '--disk',
      String(key),
    ])
    const path = String(restored.path)
    const [ours, theirs] = [await hashOf(path), await lab.control.hashDisk({ vm: ref, key })]
    if (ours !== theirs) throw new Error(`Disk ${key} differs from the VM: ${ours}, not ${theirs}`)
    if (key === changedDisk) await run('e2fsck', ['-f', '-n', path])
  }
  if (backup.disks.length < 2) throw new Error(`The backup in ${dir.path} has fewer than two disks`)
}

async function resticCheck(dir: PrivateDir, repository: string, password: string): Promise<string> {
  const passwordFile = dir.join('repository-password')
  await writeFile(passwordFile, password, { mode: 0o600 })
  const { stdout } = await run('restic', [
    ...['--repo', repository, '--password-file', passwordFile, '--no-cache'],
    ...['check', '--read-data'],
  ])
  if (!stdout.includes('no errors were found')) throw new Error(`restic says:\n${stdout}`)
  return 'restic: no errors were found'
}

function describe({ mode, bytes, disks, restorePointId, reasons: ofBackup }: Backup): string {
  const reasons = [
    ...new Set(
      [...ofBackup, ...disks.flatMap(disk => disk.reasons)].map(reason => `${reason.title} (${reason.code})`),
    ),
  ]
  const { logicalBytes, changedBytes, readBytes, newBytes, storedBytes } = bytes
  return [
    `${mode}, restore point ${restorePointId?.slice(0, 8)}`,
    `logical ${formatBytes(logicalBytes)}, changed ${formatBytes(changedBytes)}, read ${formatBytes(readBytes)}, ` +
      `new ${formatBytes(newBytes)}, stored ${formatBytes(storedBytes)}`,
    ...reasons.map(reason => `because: ${reason}`),
  ].join('\n')
}

async function untilInterrupted({ teller, hub, dir }: Demo): Promise<void> {
  const password = await readFile(dir.join('admin-password'), 'utf8')
  teller.say(`  Log in as        admin / ${password} (made up for this demo)`)
  teller.say(
    `  Command line     SENDENSE_SESSION_FILE=${dir.join('session.json')} node apps/cli/src/main.ts backup list`,
  )
  teller.say(
    `\nThe Hub (${hub.program.pid}), the Node and the vCenter stay up. Ctrl-C ends them and removes everything.`,
  )
  await new Promise<void>(resolve => {
    const keepAlive = setInterval(() => {}, 60_000)
    const end = () => {
      clearInterval(keepAlive)
      resolve()
    }
    process.once('SIGINT', end).once('SIGTERM', end)
  })
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}

function imageOf(dir: PrivateDir, label: string): string {
  return dir.join(`${label}.raw`)
}
