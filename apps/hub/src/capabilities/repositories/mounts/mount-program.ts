import { type ChildProcess, spawn } from 'node:child_process'
import { rm, writeFile } from 'node:fs/promises'
import { AppError } from '@sendense/platform'
import type { MountSpec } from './mount-spec.ts'
import { mountedAt } from './mount-table.ts'

/** No program, no device file and no set-user-id bit of a share shall ever count for anything on the Hub. */
const OPTIONS_OF_ALL = ['nosuid', 'nodev', 'noexec']
/** Shorter than whoever asked the Hub waits for the answer. */
const TIMEOUT_MS = 30_000
/** Without the helper of the file system, and without a look at the folder: both would ask the server. */
const AT_ONCE = ['--lazy', '--internal-only', '--no-canonicalize']

/** Of the file with the credentials of a share, beside its folder while it is being mounted. */
export const CREDENTIALS_SUFFIX = '.credentials'

/** Where the program is looked for, and how long it may take. */
interface Limits {
  readonly searchPath: string
  readonly timeoutMs: number
}

/** Runs `mount`. Fails with `mount-failed` and the words of the program. */
export async function mount(
  spec: MountSpec,
  target: string,
  { searchPath = SEARCH_PATH, timeoutMs = TIMEOUT_MS }: Partial<Limits> = {},
): Promise<void> {
  const credentialsFile = `${target}${CREDENTIALS_SUFFIX}`
  const options = [...OPTIONS_OF_ALL, ...spec.options]
  try {
    if (spec.credentials) {
      // A Hub that was killed may have left one.
      await rm(credentialsFile, { force: true })
      await writeFile(credentialsFile, credentialsText(spec.credentials), { mode: 0o600, flag: 'wx' })
      options.push(`credentials=${credentialsFile}`)
    }
    const args = ['-t', spec.type, '-o', options.join(','), '--', spec.source, target]
    const said = await run('mount', args, { searchPath, timeoutMs })
    if (said !== undefined) throw mountFailed(spec, `${said.replace(/\.?$/, '.')} ${fixFor(said)}`.trim())
  } finally {
    // The kernel has read it; the next mount writes it again.
    if (spec.credentials) await rm(credentialsFile, { force: true })
  }
}

/** Runs `umount`. A share that is still in use or does not answer is let go of, and ends when nobody needs it. */
export async function unmount(target: string): Promise<void> {
  const said = await run('umount', ['--', target])
  if (said === undefined) return
  const saidAgain = await run('umount', [...AT_ONCE, '--', target])
  // The first try may have taken it out of the list, and wait for the server still.
  if (saidAgain !== undefined && (await mountedAt(target)))
    throw new AppError('mount-failed', { detail: `It cannot be unmounted. ${saidAgain}` })
}

/** A share that cannot be used, in words for people. */
export function mountFailed(
  { source }: Pick<MountSpec, 'source'>,
  detail: string,
  cause?: unknown,
): AppError {
  return new AppError('mount-failed', { detail: `${source}: ${detail}`, cause })
}

function credentialsText({ username, password, domain }: NonNullable<MountSpec['credentials']>): string {
  const lines = [`username=${username}`, `password=${password}`, ...(domain ? [`domain=${domain}`] : [])]
  return `${lines.join('\n')}\n`
}

/** What the program said when it failed; undefined when it did not. */
function run(
  program: string,
  args: readonly string[],
  { searchPath, timeoutMs }: Limits = { searchPath: SEARCH_PATH, timeoutMs: TIMEOUT_MS },
): Promise<string | undefined> {
  const env = { PATH: searchPath, LC_ALL: 'C' }
  const child = spawn(program, args, { env, detached: true, stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  return new Promise(resolve => {
    const late = setTimeout(() => {
      killGroup(child)
      resolve(`${program} did not end within ${timeoutMs / 1000} s.`)
    }, timeoutMs)
    const answer = (words: string | undefined) => {
      clearTimeout(late)
      resolve(words)
    }
    child.once('error', ({ message }) => answer(message))
    child.once('close', (code, signal) => {
      const words = said.trim().replaceAll(/\s*\n\s*/g, '; ')
      answer(code === 0 ? undefined : words || `${program} ended with ${code ?? signal}.`)
    })
  })
}

/** With the program that it has started in its turn, which would go on, waiting for the server. */
function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // They have ended at this moment.
  }
}

const SEARCH_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** What to do about the failures that are met most. */
function fixFor(said: string): string {
  const fixes: [RegExp, string][] = [
    [/statd/i, 'Start rpcbind, which NFS 3 needs, or use a later version.'],
    [
      /unknown filesystem type|bad option|helper program|wrong fs type/i,
      'Install the mount program of this kind of share (nfs-common or cifs-utils), and use a kernel that has the file system.',
    ],
    [
      /must be superuser|only root|Operation not permitted/i,
      'The Hub needs the right to mount (CAP_SYS_ADMIN).',
    ],
    [
      /permission denied|access denied|error\(13\)/i,
      'Let the server admit this Hub, and check user name and password.',
    ],
    [
      /refused|timed out|No route|resolve|unreachable|temporarily unavailable|did not end|error\(11[0-9]\)/i,
      'Check the name of the server, its service and the firewall.',
    ],
    [/not supported/i, 'Use another version of the protocol.'],
    [/No such file|error\(2\)/i, 'Check the name of the export or share.'],
  ]
  return fixes.find(([pattern]) => pattern.test(said))?.[1] ?? ''
}
