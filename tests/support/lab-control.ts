import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { z } from 'zod'
import type { LabVmSpec } from './lab-inventory.ts'
import { LabSessions, LabState, type LabVm } from './lab-state.ts'

/** Names a disk: the VM's managed object id and the device key. */
export interface LabDiskRef {
  readonly vm: string
  readonly key: number
}

/** A fault of the vSphere API that calls of a method, or the tasks they start, shall end with. */
export interface LabFault {
  /** As in SOAP, `CreateSnapshot_Task`; `*` is every method. */
  readonly method: string
  /** A fault type of the vSphere API, `FileFault`. */
  readonly fault: string
  /** The call succeeds and the task ends in error. */
  readonly inTask?: boolean
  readonly message?: string
  readonly privilege?: string
  readonly file?: string
  /** Only for calls on this managed object. */
  readonly object?: string
  /** How often; for ever when missing. */
  readonly count?: number
  /** How many calls pass before. */
  readonly skip?: number
}

type Parameters = Readonly<Record<string, string | number | boolean | undefined>>

/** The side door of a lab: plays the guest, another administrator, and bad luck. */
export class LabControl {
  readonly #url: string

  constructor(url: string) {
    this.#url = url
  }

  /** All VMs with their disks and snapshots, and how many sessions are open. */
  async state(): Promise<LabState> {
    return LabState.parse(await this.#get('state'))
  }

  /** The VM of that name; throws if there is none or more than one. */
  async vm(name: string): Promise<LabVm> {
    const found = (await this.state()).vms.filter(vm => vm.name === name || vm.ref === name)
    const [vm] = found
    if (found.length !== 1 || vm === undefined) throw new Error(`${found.length} VMs are called ${name}`)
    return vm
  }

  /** Writes as the guest does. */
  async write(disk: LabDiskRef, offset: number, data: Uint8Array<ArrayBuffer> | string): Promise<void> {
    await this.#post('write', { ...disk, offset }, data)
  }

  /** Marks an area as written without changing it, as a rewrite of equal bytes does. */
  async touch(disk: LabDiskRef, offset: number, length: number): Promise<void> {
    await this.#post('touch', { ...disk, offset, length })
  }

  /** The guest's TRIM: the area becomes a hole. */
  async discard(disk: LabDiskRef, offset: number, length: number): Promise<void> {
    await this.#post('discard', { ...disk, offset, length })
  }

  /** SHA-256 of a disk as it is, or as it was in a snapshot. */
  async hashDisk(disk: LabDiskRef, snapshot?: string): Promise<string> {
    const hash = createHash('sha256')
    await pipeline(await this.#openDisk(disk, snapshot), hash)
    return hash.digest('hex')
  }

  /** Copies the bytes of a disk, as it is or as it was in a snapshot, into a file. */
  async saveDisk(disk: LabDiskRef, file: string, snapshot?: string): Promise<void> {
    await pipeline(await this.#openDisk(disk, snapshot), createWriteStream(file))
  }

  /** The bytes of an area of a disk. */
  async readDisk(disk: LabDiskRef, offset: number, length: number, snapshot?: string): Promise<Buffer> {
    const headers = { Range: `bytes=${offset}-${offset + length - 1}` }
    const answer = await this.#fetch('disk', { ...disk, snapshot }, { headers })
    return Buffer.from(await answer.arrayBuffer())
  }

  /** Creates VMs and returns their managed object ids. */
  async createVms(vms: readonly LabVmSpec[]): Promise<string[]> {
    const answer = await this.#post('create', {}, JSON.stringify({ vms }))
    return z.object({ refs: z.array(z.string()) }).parse(answer).refs
  }

  /** Grows a disk; change ids stay valid unless tracking is reset with it. */
  async resize(disk: LabDiskRef, sizeBytes: number, resetTracking = false): Promise<void> {
    await this.#post('resize', { ...disk, sizeBytes, resetTracking })
  }

  /** Adds a disk beside the VM's first one and returns its device key. */
  async addDisk(vm: string, disk: { sizeBytes: number; mode?: string; image?: string }): Promise<number> {
    const answer = await this.#post('add-disk', { vm, ...disk })
    return z.object({ key: z.int() }).parse(answer).key
  }

  async removeDisk(disk: LabDiskRef): Promise<void> {
    await this.#post('remove-disk', { ...disk })
  }

  async powerOn(vm: string): Promise<void> {
    await this.#post('power', { vm, on: true })
  }

  async powerOff(vm: string): Promise<void> {
    await this.#post('power', { vm, on: false })
  }

  /** Takes a snapshot that is not ours and returns its managed object id. */
  async userSnapshot(vm: string, name: string): Promise<string> {
    const answer = await this.#post('user-snapshot', { vm, name })
    return z.object({ snapshot: z.string() }).parse(answer).snapshot
  }

  async removeSnapshot(snapshot: string): Promise<void> {
    await this.#post('remove-snapshot', { snapshot })
  }

  /** Puts a VM back to a snapshot, disks and all; its change ids die. */
  async revert(snapshot: string): Promise<void> {
    await this.#post('revert', { snapshot })
  }

  /** Kills all change ids of a VM. */
  async cbtReset(vm: string): Promise<void> {
    await this.#post('cbt-reset', { vm })
  }

  /** Makes change tracking lose areas without a fault; an empty lie ends it. */
  async lie(lie: { beyondBytes?: number; duringConsolidation?: boolean }): Promise<void> {
    await this.#post('lie', lie)
  }

  async fault(fault: LabFault): Promise<void> {
    await this.#post('fault', { ...fault })
  }

  /** Ends all faults, those of VDDK too; missing privileges and delays stay. */
  async clearFaults(): Promise<void> {
    await this.#post('fault-clear')
  }

  /** Takes privileges away from the lab's user; an empty list gives all back. */
  async missingPrivileges(ids: readonly string[]): Promise<void> {
    await this.#post('missing-privileges', { ids: ids.join(',') })
  }

  /** Makes the tasks of a method stay running for a while before they act; 0 ends it. */
  async taskDelay(method: string, ms: number): Promise<void> {
    await this.#post('task-delay', { method, ms })
  }

  /** Disturbs the next SOAP calls below SOAP: without a status the connection is cut. */
  async httpFault(fault: { status?: number; after?: boolean; count?: number }): Promise<void> {
    await this.#post('http-fault', fault)
  }

  async sessions(): Promise<LabSessions> {
    return LabSessions.parse(await this.#get('sessions'))
  }

  /** Ends all logins; the next call of each client answers NotAuthenticated. */
  async expireSessions(): Promise<void> {
    await this.#post('expire-sessions')
  }

  /** Makes all opens of disks fail with that text; an empty one ends it. */
  async vddkFail(text: string): Promise<void> {
    await this.#post('vddk-fail', { text })
  }

  /** Refuses opens beyond that many open disks; 0 is no limit. */
  async vddkLimit(sessions: number): Promise<void> {
    await this.#post('vddk-limit', { sessions })
  }

  /** Makes each open of a disk take that long. */
  async vddkOpenDelay(ms: number): Promise<void> {
    await this.#post('vddk-open-delay', { ms })
  }

  /** Delays each read of disks opened from now on. */
  async vddkLatency(us: number): Promise<void> {
    await this.#post('vddk-latency', { us })
  }

  /** Fails reads that cover the byte, for disks opened from now on; undefined ends it. */
  async vddkReadError(offset: number | undefined): Promise<void> {
    await this.#post('vddk-read-error', { offset: offset ?? -1 })
  }

  /** Disks opened from now on cannot say which blocks are allocated. */
  async vddkNoExtents(on: boolean): Promise<void> {
    await this.#post('vddk-no-extents', { on })
  }

  async #openDisk(disk: LabDiskRef, snapshot?: string): Promise<Readable> {
    const answer = await this.#fetch('disk', { ...disk, snapshot })
    if (answer.body === null) throw new Error('The lab answered without a body')
    return Readable.fromWeb(answer.body)
  }

  async #get(call: string): Promise<unknown> {
    return (await this.#fetch(call, {})).json()
  }

  async #post(
    call: string,
    parameters: Parameters = {},
    body?: Uint8Array<ArrayBuffer> | string,
  ): Promise<unknown> {
    const init = { method: 'POST', ...(body !== undefined && { body }) }
    return (await this.#fetch(call, parameters, init)).json()
  }

  async #fetch(call: string, parameters: Parameters, init: RequestInit = {}): Promise<Response> {
    const url = new URL(call, `${this.#url}/`)
    for (const [name, value] of Object.entries(parameters)) {
      if (value !== undefined) url.searchParams.set(name, String(typeof value === 'boolean' ? +value : value))
    }
    const answer = await fetch(url, init)
    if (!answer.ok)
      throw new Error(`The lab refused ${call}: ${answer.status} ${(await answer.text()).trim()}`)
    return answer
  }
}
