import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { access } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { ownChild, waitFor } from './child.ts'
import { makePrivateDir, type PrivateDir } from './private-dir.ts'
import { freePort } from './server-child.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const CACHE =
  process.env.SENDENSE_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'sendense')
/** What `infra/bootstrap.sh --checks` has made. */
const PARTS = join(CACHE, 'tools', 'test-machine')

// Emulated, beside other work, everything may take ten times as long as on a machine that has nothing else to do.
const BOOT_TIMEOUT_MS = 600_000
const SCRIPT_TIMEOUT_MS = 900_000
/** No test needs it for longer. */
const LIFE_MAX_MS = 60 * 60_000

/**
 * A virtual machine with a kernel that knows NFS and SMB, and with the files of this system, of which it changes none.
 * It is emulated: /dev/kvm is missing on many machines, and there are those that have it and cannot run Debian's kernel.
 */
export interface TestMachine extends AsyncDisposable {
  /** Runs a script of bash as root, and returns what it printed. Fails when any of its commands does. */
  run(script: string): Promise<string>
  /** The port of 127.0.0.1 that leads to the port `MACHINE_PORT` of the machine. */
  readonly port: number
}

/** The one port of the machine that can be reached. */
export const MACHINE_PORT = 8443

/** Boots it. Its end is ours: it stops when we hang up, whatever became of us. */
export async function startTestMachine(): Promise<TestMachine> {
  await access(join(PARTS, 'stamp')).catch(cause => {
    throw new Error('There is no test machine; make it with infra/bootstrap.sh --checks', { cause })
  })
  await using building = new AsyncDisposableStack()
  const dir = building.use(await makePrivateDir('machine'))
  const port = await freePort()
  const server = createServer()
  await new Promise<void>(listening => server.listen(dir.join('agent'), listening))
  building.defer(() => void server.close())
  const { child, console } = startQemu(building, dir, port)
  let socket: Socket | undefined
  server.once('connection', connected => {
    socket = connected
  })
  building.defer(() => void socket?.destroy())
  const patience = new Patience(child, console)
  const connected = () => {
    if (building.disposed) throw new Error('The test machine was given up')
    return socket
  }
  const booted = waitFor('the test machine to boot', connected, 2 * BOOT_TIMEOUT_MS)
  const agent = await patience.waitFor('The boot', booted, BOOT_TIMEOUT_MS)
  const scripts = new Scripts(agent, patience)
  await patience.waitFor('The start of the agent', scripts.ready, BOOT_TIMEOUT_MS)
  const owned = building.move()
  return { port, run: script => scripts.run(script), [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

function startQemu(
  stack: AsyncDisposableStack,
  dir: PrivateDir,
  port: number,
): { child: ChildProcess; console: () => string } {
  const { program, machine } = emulator()
  const shared = (tag: string, path: string) => [
    '-virtfs',
    `local,path=${path},mount_tag=${tag},security_model=none,readonly=on,multidevs=remap`,
  ]
  const child = spawn(
    program,
    [
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-serial', 'stdio'],
      ...['-accel', 'tcg,thread=multi', '-smp', '2', '-m', '1536', ...machine.args],
      ...['-kernel', join(PARTS, 'vmlinuz'), '-initrd', join(PARTS, 'initrd')],
      ...[
        '-append',
        `console=${machine.console} quiet panic=-1 sendense.agent=${ROOT}/infra/test-machine/agent.sh`,
      ],
      ...[...shared('system', '/'), ...shared('layer', join(PARTS, 'layer'))],
      ...['-netdev', `user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:${port}-:${MACHINE_PORT}`],
      ...['-device', 'virtio-net-pci,netdev=net,romfile='],
      ...['-chardev', `socket,id=agent,path=${dir.join('agent')}`, '-device', 'virtio-serial-pci'],
      ...['-device', 'virtserialport,chardev=agent,name=tests'],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  let text = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
    })
  }
  child.once('error', error => {
    text += `${program} does not start; install it with infra/bootstrap.sh --checks: ${error.message}`
  })
  ownChild(stack, child)
  const tooLate = setTimeout(() => child.kill('SIGKILL'), LIFE_MAX_MS)
  stack.defer(() => clearTimeout(tooLate))
  return { child, console: () => text }
}

function emulator(): { program: string; machine: { args: string[]; console: string } } {
  if (process.arch === 'arm64') {
    const args = ['-machine', 'virt', '-cpu', 'cortex-a72']
    return { program: 'qemu-system-aarch64', machine: { args, console: 'ttyAMA0' } }
  }
  return { program: 'qemu-system-x86_64', machine: { args: ['-cpu', 'max'], console: 'ttyS0' } }
}

interface Answer {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Waits for a machine, but neither beyond its end nor for ever, and then says what was on its console. */
class Patience {
  readonly #end: Promise<string>
  readonly #console: () => string

  constructor(child: ChildProcess, console: () => string) {
    this.#console = console
    this.#end = once(child, 'exit').then(
      ([code, signal]) => `the test machine ended with ${code ?? signal}`,
      (error: Error) => error.message,
    )
  }

  async waitFor<T>(what: string, answer: Promise<T>, limitMs: number): Promise<T> {
    const late = Promise.withResolvers<string>()
    const timer = setTimeout(() => late.resolve(`no answer in ${limitMs / 1000} s`), limitMs)
    const inVain = Promise.race([this.#end, late.promise]).then(how => {
      throw new Error(`${what}: ${how}\n${this.#console()}`)
    })
    return Promise.race([answer, inVain]).finally(() => clearTimeout(timer))
  }
}

/** Sends scripts to the agent, and keeps its answers apart. */
class Scripts {
  readonly ready: Promise<unknown>
  readonly #socket: Socket
  readonly #patience: Patience
  readonly #waiting = new Map<string, (answer: Answer) => void>()
  #count = 0

  constructor(socket: Socket, patience: Patience) {
    this.#socket = socket
    this.#patience = patience
    // A machine that ends resets it; its end is told by those who wait for answers.
    socket.on('error', () => undefined)
    const lines = createInterface(socket)
    this.ready = once(lines, 'line')
    lines.on('line', line => this.#take(line))
  }

  async run(script: string): Promise<string> {
    this.#count += 1
    const id = String(this.#count)
    const answered = Promise.withResolvers<Answer>()
    this.#waiting.set(id, answered.resolve)
    this.#socket.write(`${id} ${Buffer.from(script).toString('base64')}\n`)
    const answer = this.#patience.waitFor(`A script, ${script.trim()}`, answered.promise, SCRIPT_TIMEOUT_MS)
    const { status, stdout, stderr } = await answer
    // First what went wrong: of a long message only the beginning may be seen.
    if (status !== 0) throw new Error(`A script ended with ${status}: ${stderr}${stdout}\n${script}`)
    return stdout
  }

  #take(line: string): void {
    const [id = '', status, output = ''] = line.split(' ')
    const [stdout = '', stderr = ''] = output.split(':').map(part => Buffer.from(part, 'base64').toString())
    this.#waiting.get(id)?.({ status: Number(status), stdout, stderr })
    this.#waiting.delete(id)
  }
}
