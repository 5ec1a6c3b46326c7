import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { childEnd, stopChild, waitFor } from './child.ts'
import { LabControl } from './lab-control.ts'
import type { LabVmSpec } from './lab-inventory.ts'
import { type LabParts, labParts } from './lab-parts.ts'
import { LabInfo } from './lab-state.ts'
import { makePrivateDir, type PrivateDir } from './private-dir.ts'

/** How the lab shall be when it starts; most can be changed later through `lab.control`. */
export interface LabOptions {
  /** VMs to create. */
  readonly vms?: readonly LabVmSpec[]
  /** How many VMs of the simulator's own model there are per resource pool; 0 when missing. */
  readonly modelVms?: number
  /** Capacity of the model's disks. */
  readonly modelDiskMb?: number
  /** Changed areas per answer of QueryChangedDiskAreas, so that clients have to page. */
  readonly maxAreas?: number
  readonly user?: string
  /** A random one when missing. */
  readonly password?: string
  /** Idle time after which a SOAP session ends. */
  readonly sessionTimeoutMs?: number
  readonly missingPrivileges?: readonly string[]
  /** How long CreateSnapshot tasks stay running. */
  readonly snapshotDelayMs?: number
}

/** What nbdkit needs to read the lab's disks. */
export interface LabVddk {
  /** The plugin: Debian's own nbdkit-vddk-plugin.so, unless it could not be had. */
  readonly pluginPath: string
  /** True if the plugin is the stand-in that only takes the same parameters. */
  readonly isFallback: boolean
  /** For the plugin's `libdir=`: the stub library, bound to this lab. */
  readonly libdir: string
}

/** A vCenter for one test. */
export interface Lab extends AsyncDisposable {
  /** URL of the SOAP endpoint. */
  readonly sdk: string
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  /** Of the certificate, `AA:BB:..`; nbdkit wants the first. */
  readonly thumbprintSha1: string
  readonly thumbprintSha256: string
  readonly certificatePem: string
  readonly vddk: LabVddk
  /** A govc of the same version as the simulator, for cross-checks. */
  readonly govc: string
  /** Where the control port listens, for processes other than this one. */
  readonly controlUrl: string
  readonly control: LabControl
  /** What the lab wrote to its log so far. */
  log(): string
}

/** Builds the lab if needed and starts it on free ports of loopback. It ends with the test, or with this process. */
export async function startLab(options: LabOptions = {}): Promise<Lab> {
  const parts = await labParts()
  await using cleanup = new AsyncDisposableStack()
  const dir = cleanup.use(await makePrivateDir('lab'))
  const { child, log } = await spawnLab(parts, dir, options)
  cleanup.defer(async () => void (await stopChild(child)))
  const info = await readInfo(child, dir, log)
  const vddk = await makeLibdir(parts, dir, info)
  const owned = cleanup.move()
  return {
    ...addressOf(info),
    user: info.user,
    password: info.password,
    thumbprintSha1: info.thumbprintSha1,
    thumbprintSha256: info.thumbprintSha256,
    certificatePem: info.certificatePem,
    vddk,
    govc: parts.govc,
    controlUrl: info.control,
    control: new LabControl(info.control),
    log,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

async function spawnLab(parts: LabParts, dir: PrivateDir, options: LabOptions) {
  await writeFile(dir.join('inventory.json'), JSON.stringify({ vms: options.vms ?? [] }))
  await writeFile(dir.join('password'), options.password ?? randomBytes(12).toString('base64url'))
  const flags = [
    ...['-info', dir.join('info.json')],
    ...['-dir', dir.path],
    ...['-password-file', dir.join('password')],
    ...['-inventory', dir.join('inventory.json')],
    '-exit-with-parent',
    ...optionFlags(options),
  ]
  // The lab ends when this pipe does, so that it cannot outlive a killed test.
  const child = spawn(parts.vcsimLab, flags, { stdio: ['pipe', 'ignore', 'pipe'] })
  let text = ''
  child.stderr.setEncoding('utf8').on('data', chunk => {
    text += chunk
  })
  return { child, log: () => text }
}

function optionFlags(options: LabOptions): string[] {
  const flags: Record<string, string | number | undefined> = {
    vm: options.modelVms ?? 0,
    'disk-mb': options.modelDiskMb,
    'max-areas': options.maxAreas,
    username: options.user,
    'session-timeout': options.sessionTimeoutMs === undefined ? undefined : `${options.sessionTimeoutMs}ms`,
    'missing-privilege': options.missingPrivileges?.join(','),
    'snapshot-delay-ms': options.snapshotDelayMs,
  }
  return Object.entries(flags).flatMap(([name, value]) =>
    value === undefined ? [] : [`-${name}`, `${value}`],
  )
}

async function readInfo(child: ChildProcess, dir: PrivateDir, log: () => string): Promise<LabInfo> {
  const ended = childEnd(child).then(end => {
    throw new Error(`The lab ended with ${end.code ?? end.signal} before it was ready: ${log()}`)
  })
  const text = waitFor('the lab to be ready', () =>
    readFile(dir.join('info.json'), 'utf8').catch(() => undefined),
  )
  return LabInfo.parse(JSON.parse(await Promise.race([text, ended])))
}

/** Several labs share one build of the stub: what binds it to a lab is the configuration beside the link. */
async function makeLibdir(parts: LabParts, dir: PrivateDir, info: LabInfo): Promise<LabVddk> {
  const libdir = dir.join('vddk')
  await mkdir(dir.join('vddk', 'lib64'), { recursive: true })
  await symlink(parts.stub, dir.join('vddk', 'lib64', 'libvixDiskLib.so.8'))
  await writeFile(dir.join('vddk', 'stub.conf'), `resolver=${info.resolver}\n`)
  return { pluginPath: parts.plugin, isFallback: parts.pluginIsFallback, libdir }
}

function addressOf(info: LabInfo) {
  const { hostname, port } = new URL(info.sdk)
  return { sdk: info.sdk, host: hostname, port: Number(port) }
}
