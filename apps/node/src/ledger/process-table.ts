import { readdir, readFile } from 'node:fs/promises'
import { type Clock, systemClock } from '@sendense/platform'

/** A process that cannot be mistaken for a later one with the same number. */
export interface ProcessIdentity {
  pid: number
  /** When it started, in clock ticks after boot: field 22 of `/proc/<pid>/stat` (proc(5)). */
  startTicks: string
}

/** The identity of a process that runs now. */
export async function identifyProcess(pid: number): Promise<ProcessIdentity | undefined> {
  const stat = await readProcFile(pid, 'stat')
  if (stat === undefined) return undefined
  // The second field is the name in parentheses and may itself contain spaces and parentheses.
  const fieldsAfterName = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state, startTicks] = [fieldsAfterName[0], fieldsAfterName[19]]
  if (startTicks === undefined || state === 'Z') return undefined
  return { pid, startTicks }
}

/** All processes that were started with exactly this argument. */
export async function findProcessesByArgument(argument: string): Promise<ProcessIdentity[]> {
  const found: ProcessIdentity[] = []
  for (const name of await readdir('/proc')) {
    const pid = Number(name)
    if (!Number.isInteger(pid)) continue
    // The identity comes first: if the number is reused in between, the old identity is no longer good for anything.
    const identity = await identifyProcess(pid)
    if (identity && (await argumentsOf(pid)).includes(argument)) found.push(identity)
  }
  return found
}

/**
 * Ends a process of ours by SIGTERM, and by SIGKILL if it stays. False if it is still there after that.
 * A process that has another start time is somebody else's and is left alone.
 */
export async function endProcess(
  target: ProcessIdentity,
  { graceMs = 5000, clock = systemClock }: { graceMs?: number; clock?: Clock } = {},
): Promise<boolean> {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    if (!(await isRunning(target))) return true
    signalProcess(target.pid, signal)
    if (await isGoneWithin(target, graceMs, clock)) return true
  }
  return false
}

async function isGoneWithin(target: ProcessIdentity, withinMs: number, clock: Clock): Promise<boolean> {
  const deadline = clock.now().getTime() + withinMs
  while (await isRunning(target)) {
    if (clock.now().getTime() >= deadline) return false
    await clock.sleep(POLL_MS)
  }
  return true
}

async function isRunning({ pid, startTicks }: ProcessIdentity): Promise<boolean> {
  return (await identifyProcess(pid))?.startTicks === startTicks
}

function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    // It ended between the check and the signal.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

async function argumentsOf(pid: number): Promise<string[]> {
  return (await readProcFile(pid, 'cmdline'))?.split('\0') ?? []
}

/** A file of a process, or nothing when the process is gone or not ours to look at. */
async function readProcFile(pid: number, name: string): Promise<string | undefined> {
  try {
    return await readFile(`/proc/${pid}/${name}`, 'utf8')
  } catch {
    return undefined
  }
}

const POLL_MS = 20
