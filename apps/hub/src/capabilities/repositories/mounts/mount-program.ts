import { execFile } from 'node:child_process'
import { rm, writeFile } from 'node:fs/promises'
import { AppError } from '@sendense/platform'
import type { MountSpec } from './mount-spec.ts'

/** No program, no device file and no set-user-id bit of a share shall ever count for anything on the Hub. */
const OPTIONS_OF_ALL = ['nosuid', 'nodev', 'noexec']
const TIMEOUT_MS = 60_000

/** Runs `mount`. Fails with `mount-failed` and the words of the program. */
export async function mount(
  spec: MountSpec,
  target: string,
  { searchPath = SEARCH_PATH }: { searchPath?: string } = {},
): Promise<void> {
  const credentialsFile = `${target}.credentials`
  const options = [...OPTIONS_OF_ALL, ...spec.options]
  try {
    if (spec.credentials) {
      await writeFile(credentialsFile, credentialsText(spec.credentials), { mode: 0o600, flag: 'wx' })
      options.push(`credentials=${credentialsFile}`)
    }
    const args = ['-t', spec.type, '-o', options.join(','), '--', spec.source, target]
    const said = await run('mount', args, searchPath)
    if (said !== undefined) throw mountFailed(spec, `${said} ${fixFor(said)}`.trim())
  } finally {
    // The kernel has read it; the next mount writes it again.
    if (spec.credentials) await rm(credentialsFile, { force: true })
  }
}

/** Runs `umount`. A share that is still in use or does not answer is let go of, and ends when nobody needs it. */
export async function unmount(target: string): Promise<void> {
  const said = await run('umount', ['--', target], SEARCH_PATH)
  if (said === undefined) return
  const saidAgain = await run('umount', ['--lazy', '--', target], SEARCH_PATH)
  if (saidAgain !== undefined)
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
function run(program: string, args: readonly string[], searchPath: string): Promise<string | undefined> {
  const env = { PATH: searchPath, LC_ALL: 'C' }
  const options = { timeout: TIMEOUT_MS, killSignal: 'SIGKILL', env } as const
  return new Promise(resolve => {
    execFile(program, [...args], options, (error, _stdout, stderr) => {
      if (!error) return resolve(undefined)
      const said = stderr.trim().replaceAll(/\s*\n\s*/g, '; ')
      const isLate = error.killed === true
      resolve(isLate ? `${program} did not end within ${TIMEOUT_MS / 1000} s.` : said || error.message)
    })
  })
}

const SEARCH_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** What to do about the failures that are met most. */
function fixFor(said: string): string {
  const fixes: [RegExp, string][] = [
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
      /refused|timed out|No route|resolve|unreachable|error\(11[0-9]\)/i,
      'Check the name of the server, its service and the firewall.',
    ],
    [/No such file|error\(2\)/i, 'Check the name of the export or share.'],
  ]
  return fixes.find(([pattern]) => pattern.test(said))?.[1] ?? ''
}
