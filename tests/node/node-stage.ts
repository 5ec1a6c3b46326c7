import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { waitFor } from '../support/child.ts'
import { type Lab, type LabOptions, startLab } from '../support/lab.ts'
import type { LabVm } from '../support/lab-state.ts'
import { nodeSettings } from '../support/node-process.ts'
import { makePrivateDir, type PrivateDir } from '../support/private-dir.ts'
import { type Program, runProgram, startProgram } from '../support/program.ts'
import { EngineHub } from './engine-hub.ts'

const MAIN = 'apps/node/src/main.ts'

/** A lab, a Hub in this process and the Node as a process of its own, paired, approved and connected. */
export class NodeStage implements AsyncDisposable {
  readonly lab: Lab
  readonly dir: PrivateDir
  readonly hub: EngineHub
  readonly settings: Record<string, string>
  node: Program
  readonly #cleanUp: AsyncDisposableStack

  private constructor(cleanUp: AsyncDisposableStack, parts: { lab: Lab; dir: PrivateDir; hub: EngineHub }) {
    this.lab = parts.lab
    this.dir = parts.dir
    this.hub = parts.hub
    this.#cleanUp = cleanUp
    this.settings = { ...nodeSettings(parts.dir, parts.lab), SENDENSE_LOG_LEVEL: 'debug' }
    this.node = startProgram(MAIN, ['run'], this.settings)
  }

  static async start(options: LabOptions): Promise<NodeStage> {
    await using cleanUp = new AsyncDisposableStack()
    const lab = cleanUp.use(await startLab(options))
    const dir = cleanUp.use(await makePrivateDir('stage'))
    const hub = cleanUp.use(await EngineHub.start(dir))
    const paired = await runProgram(MAIN, ['pair', '--hub', hub.hub.url], {
      env: nodeSettings(dir, lab),
      stdin: `${hub.hub.pairingCode}\n`,
    })
    if (paired.code !== 0) throw new Error(paired.stderr)
    hub.hub.approve()
    const stage = new NodeStage(cleanUp.move(), { lab, dir, hub })
    await stage.untilConnected()
    return stage
  }

  async untilConnected(): Promise<void> {
    await waitFor('the Node to connect', () => {
      if (this.node.hasEnded) throw new Error(`The Node has ended:\n${this.node.log()}`)
      return this.hub.hub.isConnected || undefined
    })
  }

  /** Ends the Node as a power cut does. */
  async kill(): Promise<void> {
    await this.node.kill()
    await waitFor('the tunnel to break', () => !this.hub.hub.isConnected || undefined)
  }

  async restart(): Promise<void> {
    this.node = startProgram(MAIN, ['run'], this.settings)
    await this.untilConnected()
  }

  /** A VM of the lab with the identity that vCenter gives it. */
  async vm(name: string): Promise<LabVm & { instanceUuid: string }> {
    const vcenter = await this.vcenter()
    const { vms } = await this.hub.hub.node.discoverVms({ vcenter, nameContains: name })
    const instanceUuid = vms.find(vm => vm.name === name)?.instanceUuid ?? ''
    return { ...(await this.lab.control.vm(name)), instanceUuid }
  }

  async vcenter() {
    const { host, port, user: username, password, thumbprintSha256 } = this.lab
    const sealedCredentials = await this.hub.hub.seal({ username, password })
    const thumbprint = thumbprintSha256.replaceAll(':', '').toLowerCase()
    return { host, port, thumbprint, sealedCredentials }
  }

  /** The nbdkit processes that the Node has started. */
  async readers(): Promise<number[]> {
    const socket = `--unix=${this.dir.join('n', 'run')}/`
    return (await this.processes()).filter(one => one.cmdline.includes(socket)).map(one => one.pid)
  }

  /** Processes that belong to this stage: those whose command line names its directory. */
  async processes(): Promise<{ pid: number; cmdline: string; environ: string }[]> {
    const found: { pid: number; cmdline: string; environ: string }[] = []
    for (const entry of await readdir('/proc')) {
      if (!/^\d+$/.test(entry)) continue
      const [cmdline, environ] = await Promise.all(
        ['cmdline', 'environ'].map(file => readFile(join('/proc', entry, file), 'utf8').catch(() => '')),
      )
      const isOurs = cmdline?.includes(this.dir.path) || environ?.includes(this.dir.path)
      if (!isOurs || Number(entry) === process.pid) continue
      found.push({
        pid: Number(entry),
        cmdline: cmdline ?? '',
        environ: environ ?? '',
      })
    }
    return found
  }

  /** Whatever happened: nothing of ours is in vSphere, among the processes, or in the run directory. */
  async expectNothingLeft(ofOthers: readonly string[] = []): Promise<void> {
    const state = await waitFor('the sessions of readers to end', async () => {
      const now = await this.lab.control.state()
      return now.vddkSessions === 0 ? now : undefined
    })
    expect(state.vms.flatMap(vm => vm.snapshots.map(snapshot => snapshot.name))).toEqual(ofOthers)
    expect(await this.readers()).toEqual([])
    expect(await readdir(this.dir.join('n', 'run'))).toEqual([])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.node[Symbol.asyncDispose]()
    await this.#cleanUp.disposeAsync()
  }
}
