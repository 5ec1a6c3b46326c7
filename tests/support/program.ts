import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { type ChildEnd, childEnd, stopChild } from './child.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** One of our programs as a child process. */
export interface Program extends AsyncDisposable {
  readonly pid: number
  /** What it has logged and printed so far. */
  log(): string
  /** Ends when the process has ended, by whatever cause. */
  readonly end: Promise<ChildEnd>
  readonly hasEnded: boolean
  /** As a power cut would: no clean-up of any kind. */
  kill(): Promise<ChildEnd>
  /** As a service manager would. */
  stop(): Promise<ChildEnd>
}

/** Starts a program of ours from its sources, with nothing of this process's own settings. */
export function startProgram(
  path: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  stdin?: string,
): Program {
  const child = spawn(process.execPath, [`${ROOT}${path}`, ...args], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...keptSettings(), ...env },
    stdio: [stdin === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  })
  child.stdin?.end(stdin)
  return programOf(child)
}

/** Runs a program of ours to its end. */
export async function runProgram(
  path: string,
  args: readonly string[],
  { env = {}, stdin }: { env?: Readonly<Record<string, string>>; stdin?: string } = {},
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [`${ROOT}${path}`, ...args], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...keptSettings(), ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  child.stdin.end(stdin ?? '')
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text
    })
  }
  await new Promise(resolve => child.once('close', resolve))
  return { code: child.exitCode, ...output }
}

/** Where the native engine is; the only thing of the environment that our programs share with the tests. */
function keptSettings(): Record<string, string> {
  const { SENDENSE_ENGINE } = process.env
  return SENDENSE_ENGINE === undefined ? {} : { SENDENSE_ENGINE }
}

function programOf(child: ChildProcess): Program {
  let text = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
    })
  }
  // A test that is killed takes its programs along.
  const killWithUs = () => child.kill('SIGKILL')
  process.once('exit', killWithUs)
  const end = childEnd(child).finally(() => process.off('exit', killWithUs))
  return {
    pid: child.pid ?? 0,
    log: () => text,
    end,
    get hasEnded() {
      return child.exitCode !== null || child.signalCode !== null
    },
    kill: () => {
      child.kill('SIGKILL')
      return end
    },
    stop: () => stopChild(child, 30_000),
    [Symbol.asyncDispose]: async () => {
      await stopChild(child, 30_000)
    },
  }
}
