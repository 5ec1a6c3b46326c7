import type { Client } from '@sendense/client'
import { NodeId } from '@sendense/contracts'
import { waitFor } from './child.ts'
import type { HubProcess } from './hub-process.ts'
import type { Lab } from './lab.ts'
import type { PrivateDir } from './private-dir.ts'
import { type Program, runProgram, startProgram } from './program.ts'

const MAIN = 'apps/node/src/main.ts'

/** The Node as a process of its own, paired with a Hub and approved. */
export class NodeProcess implements AsyncDisposable {
  readonly dir: PrivateDir
  readonly id: NodeId
  readonly #settings: Readonly<Record<string, string>>
  #program: Program

  private constructor(dir: PrivateDir, id: NodeId, settings: Readonly<Record<string, string>>) {
    this.dir = dir
    this.id = id
    this.#settings = settings
    this.#program = startProgram(MAIN, ['run'], settings)
  }

  /** Pairs a new Node with the Hub and starts it; it waits for its approval. */
  static async pair(
    dir: PrivateDir,
    hub: HubProcess,
    lab: Lab,
    pairingCode: () => Promise<string>,
    more: Readonly<Record<string, string>> = {},
  ): Promise<NodeProcess> {
    const settings = { ...nodeSettings(dir, lab), ...more }
    return new NodeProcess(dir, await pairNode(settings, hub.url, await pairingCode()), settings)
  }

  /** The same, approved, with its tunnel up. */
  static async start(
    dir: PrivateDir,
    hub: HubProcess,
    admin: Client,
    lab: Lab,
    more: Readonly<Record<string, string>> = {},
  ): Promise<NodeProcess> {
    const code = async () => (await admin.enrollment.createPairingCode({ body: {} })).pairingCode
    const node = await NodeProcess.pair(dir, hub, lab, code, more)
    await admin.enrollment.approveNode({ params: { nodeId: node.id } })
    await node.waitUntilConnected(admin)
    return node
  }

  get program(): Program {
    return this.#program
  }

  /** Starts it again after it has ended. */
  async restart(): Promise<void> {
    await this.#program.end
    this.#program = startProgram(MAIN, ['run'], this.#settings)
  }

  async killAndRestart(): Promise<void> {
    await this.#program.kill()
    await this.restart()
  }

  async waitUntilConnected(admin: Client): Promise<void> {
    await this.waitUntil(
      async () => (await admin.enrollment.getNode({ params: { nodeId: this.id } })).isConnected,
    )
  }

  /** Waits until somebody finds the Node connected; fails when it ends before. */
  async waitUntil(isConnected: () => Promise<boolean>): Promise<void> {
    await waitFor('the Node to connect', async () => {
      if (this.#program.hasEnded) throw new Error(`The Node has ended:\n${this.#program.log()}`)
      return (await isConnected()) || undefined
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]()
  }
}

/** Settings of a Node that reads the disks of this lab. */
export function nodeSettings(dir: PrivateDir, lab: Lab): Record<string, string> {
  return {
    SENDENSE_NODE_STATE_DIR: dir.join('n'),
    SENDENSE_NODE_NAME: 'site-a',
    SENDENSE_NODE_API_PORT: '0',
    SENDENSE_VDDK_PLUGIN: lab.vddk.pluginPath,
    SENDENSE_VDDK_LIBDIR: lab.vddk.libdir,
  }
}

/** Runs `pair` and returns the id that the Hub gave. */
export async function pairNode(
  settings: Readonly<Record<string, string>>,
  hubUrl: string,
  pairingCode: string,
): Promise<NodeId> {
  const { code, stdout, stderr } = await runProgram(MAIN, ['pair', '--hub', hubUrl], {
    env: settings,
    stdin: pairingCode,
  })
  const id = /as Node (\S+)/.exec(stdout)?.[1]
  if (code !== 0 || id === undefined) throw new Error(`Pairing failed with ${code}: ${stderr}${stdout}`)
  return NodeId.parse(id)
}
