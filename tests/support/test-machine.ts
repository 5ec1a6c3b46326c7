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

const BOOT_TIMEOUT_MS = 180_000
const SCRIPT_TIMEOUT_MS = 300_000
/** No test needs it for longer. */
const LIFE_MAX_MS = 20 * 60_000

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
  const agent = await waitFor(
    'the test machine to boot',
    () => {
      if (child.exitCode !== null)
        throw new Error(`The test machine ended with ${child.exitCode}: ${console()}`)
      return socket
    },
    BOOT_TIMEOUT_MS,
  )
  const scripts = new Scripts(agent, console)
  await scripts.ready
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

/** Sends scripts to the agent, and keeps its answers apart. */
class Scripts {
  readonly ready: Promise<unknown>
  readonly #socket: Socket
  readonly #console: () => string
  readonly #waiting = new Map<string, (answer: Answer) => void>()
  #count = 0

  constructor(socket: Socket, console: () => string) {
    this.#socket = socket
    this.#console = console
    const lines = createInterface(socket)
    const late = AbortSignal.timeout(BOOT_TIMEOUT_MS)
    this.ready = once(lines, 'line', { signal: late }).catch(cause => {
      throw new Error(`The test machine does not get ready: ${console()}`, { cause })
    })
    lines.on('line', line => this.#take(line))
  }

  async run(script: string): Promise<string> {
    this.#count += 1
    const id = String(this.#count)
    const answered = Promise.withResolvers<Answer>()
    const late = setTimeout(
      () => answered.reject(new Error(`The test machine gives no answer to: ${script}\n${this.#console()}`)),
      SCRIPT_TIMEOUT_MS,
    )
    this.#waiting.set(id, answered.resolve)
    this.#socket.write(`${id} ${Buffer.from(script).toString('base64')}\n`)
    const { status, stdout, stderr } = await answered.promise.finally(() => clearTimeout(late))
    if (status !== 0) throw new Error(`${script}\nended with ${status}: ${stderr}${stdout}`)
    return stdout
  }

  #take(line: string): void {
    const [id = '', status, output = ''] = line.split(' ')
    const [stdout = '', stderr = ''] = output.split(':').map(part => Buffer.from(part, 'base64').toString())
    this.#waiting.get(id)?.({ status: Number(status), stdout, stderr })
    this.#waiting.delete(id)
  }
}
