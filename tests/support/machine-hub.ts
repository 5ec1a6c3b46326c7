import type { Client } from '@sendense/client'
import { axiosTransport, createClient } from '@sendense/client'
import { API_ROOT } from '@sendense/contracts'
import { pinnedAgent } from '@sendense/platform'
import { administratorOf, HubFile } from './hub-process.ts'
import { MACHINE_PORT, type TestMachine } from './test-machine.ts'

const ROOT = new URL('../../', import.meta.url).pathname
const DATA_DIR = '/var/lib/sendense'
/** Emulated, a Hub takes half a minute until it listens, and ten times as long beside other work. */
const START_TIMEOUT_S = 600
/** To make a repository on a share takes more than a minute here, beside other work. */
const ANSWER_TIMEOUT_MS = 600_000

/** The Hub, in a test machine, with the embedded database. */
export class MachineHub {
  /** Where the machine has its data. */
  readonly dataDir = DATA_DIR
  readonly #machine: TestMachine
  #file: HubFile | undefined

  private constructor(machine: TestMachine) {
    this.#machine = machine
  }

  static async start(machine: TestMachine): Promise<MachineHub> {
    const hub = new MachineHub(machine)
    await hub.start()
    return hub
  }

  /** Starts it again where it was. */
  async start(): Promise<void> {
    const said = await this.#machine.run(`
rm -f ${DATA_DIR}/hub.json
export SENDENSE_HUB_DATA_DIR=${DATA_DIR} SENDENSE_HUB_RESTORE_DIR=/var/lib/restores
export SENDENSE_HUB_HOST=0.0.0.0 SENDENSE_HUB_PORT=${MACHINE_PORT}
export SENDENSE_HUB_PUBLIC_HOST=localhost SENDENSE_HUB_DATA_PLANE_PORT=0
${engineVariable()}
setsid '${process.execPath}' ${ROOT}apps/hub/src/main.ts >>/var/log/hub 2>&1 </dev/null &
echo $! >/run/hub.pid
for second in {1..${START_TIMEOUT_S}}; do
  if [ -e ${DATA_DIR}/hub.json ]; then exec cat ${DATA_DIR}/hub.json; fi
  kill -0 $! 2>/dev/null || break
  sleep 1
done
if kill -0 $!; then echo "The Hub does not listen after ${START_TIMEOUT_S} s."; else echo 'The Hub has ended.'; fi
tail -n 30 /var/log/hub
# Whether memory is what was missing, or the kernel has more to say.
free -m
dmesg | tail -n 20
exit 1`)
    this.#file = HubFile.parse(JSON.parse(said))
  }

  /** As a service manager would. Fails when it has not ended in the time that one waits. */
  stop(): Promise<string> {
    return this.#end('TERM')
  }

  /** As a power cut would. */
  kill(): Promise<string> {
    return this.#end('KILL')
  }

  /** A client of the administrator. */
  async administrator(): Promise<Client> {
    const file = `${DATA_DIR}/initial-admin-password`
    const oneTime = await this.#machine.run(`cat ${file} 2>/dev/null || true`)
    return administratorOf(token => this.#client(token), oneTime.trim() || undefined)
  }

  /** What it has logged so far. */
  log(): Promise<string> {
    return this.#machine.run('cat /var/log/hub')
  }

  #client(token?: string): Client {
    const httpsAgent = pinnedAgent({ certificateSha256: this.#file?.certificateSha256 ?? '' })
    return createClient({
      baseUrl: `https://127.0.0.1:${this.#machine.port}${API_ROOT}`,
      transport: axiosTransport({ httpsAgent, timeoutMs: ANSWER_TIMEOUT_MS }),
      ...(token !== undefined && { token }),
    })
  }

  #end(signal: 'TERM' | 'KILL'): Promise<string> {
    return this.#machine.run(`
kill -${signal} "$(cat /run/hub.pid)"
timeout 90 tail --pid="$(cat /run/hub.pid)" -f /dev/null`)
  }
}

function engineVariable(): string {
  const { SENDENSE_ENGINE } = process.env
  return SENDENSE_ENGINE === undefined ? '' : `export SENDENSE_ENGINE='${SENDENSE_ENGINE}'`
}
