import { createHash } from 'node:crypto'
import type { ReasonCode } from '@sendense/contracts'
import type { LabControl, LabDiskRef } from './lab-control.ts'
import { noise } from './noise.ts'
import type { DiskHashes } from './restored-disks.ts'
import type { SeededRandom } from './seeded-random.ts'

const SECTOR = 512
const DISKS_MAX = 3
const SNAPSHOTS_MAX = 3

/** A disk as it should be. */
interface ModelDisk {
  readonly bytes: Buffer
  /** Another number for another disk, even under the same key. */
  readonly identity: number
}

/** What the last backup that counts has seen of a disk. */
type SeenDisk = Pick<ModelDisk, 'identity'> & { readonly sizeBytes: number; readonly trackingEra: number }

/** What can happen to a VM between two backups, and how often. */
const EVENTS = {
  write: 40,
  discard: 14,
  touch: 10,
  grow: 4,
  'reset-tracking': 3,
  'take-snapshot': 6,
  'remove-snapshot': 5,
  revert: 4,
  'add-disk': 3,
} as const

/**
 * A VM of the lab and, beside it, what its disks must hold, worked out in memory without any part of the product or
 * the lab. Events happen to both.
 */
export class ModelledVm {
  readonly #control: LabControl
  readonly #vm: string
  readonly #random: SeededRandom
  #disks = new Map<number, ModelDisk>()
  #snapshots: { readonly moRef: string; readonly disks: Map<number, ModelDisk> }[] = []
  /** The snapshot that the VM continues from. */
  #current: string | undefined
  #seen: ReadonlyMap<number, SeenDisk> | undefined
  /** Grows when the change ids of the VM die. */
  #trackingEra = 0
  #identities = 0
  /** What happened since the last backup, for whoever has to look into a failure. */
  history: string[] = []

  constructor(control: LabControl, { vm, random }: { vm: string; random: SeededRandom }) {
    this.#control = control
    this.#vm = vm
    this.#random = random
  }

  /** A disk that the VM has from the beginning; all zero. */
  addFirstDisk(key: number, sizeBytes: number): void {
    this.#disks.set(key, { bytes: Buffer.alloc(sizeBytes), identity: this.#newIdentity() })
  }

  get keys(): number[] {
    return [...this.#disks.keys()]
  }

  /** What the disks must be when read back. */
  hashes(): DiskHashes {
    return new Map([...this.#disks].map(([key, { bytes }]) => [key, sha256(bytes)]))
  }

  /** Why each disk must be read in full by the next backup; an empty list where only changes may be read. */
  expectedReasons(): Record<number, ReasonCode[]> {
    return Object.fromEntries([...this.#disks].map(([key, disk]) => [key, this.#reasonsOf(key, disk)]))
  }

  /** A backup was made of the VM as it is. */
  noteBackup(): void {
    const trackingEra = this.#trackingEra
    this.#seen = new Map(
      [...this.#disks].map(([key, { identity, bytes }]) => [
        key,
        { identity, sizeBytes: bytes.length, trackingEra },
      ]),
    )
    this.history = []
  }

  /** One thing happens. */
  async step(): Promise<void> {
    const event = this.#random.weighted(EVENTS)
    const happened = await this.#happen(event)
    this.history.push(happened === undefined ? `${event}: not possible now` : `${event} ${happened}`)
  }

  #happen(event: keyof typeof EVENTS): Promise<string | undefined> {
    switch (event) {
      case 'write':
      case 'discard':
      case 'touch':
        return this.#change(event)
      case 'grow':
        return this.#grow()
      case 'reset-tracking':
        return this.#resetTracking()
      case 'take-snapshot':
        return this.#takeSnapshot()
      case 'remove-snapshot':
        return this.#removeSnapshot()
      case 'revert':
        return this.#revert()
      case 'add-disk':
        return this.#addDisk()
    }
  }

  async #change(event: 'write' | 'discard' | 'touch'): Promise<string> {
    const [key, { bytes }] = this.#anyDisk()
    const sectors = bytes.length / SECTOR
    const first = this.#random.between(0, sectors)
    // Mostly small, at times larger than a chunk.
    const most = this.#random.next() < 0.8 ? 64 : 3000
    const count = this.#random.between(1, Math.min(most, sectors - first) + 1)
    const [offset, length] = [first * SECTOR, count * SECTOR]
    const disk = { vm: this.#vm, key }
    if (event === 'touch') await this.#control.touch(disk, offset, length)
    else if (event === 'discard') await this.#discard(disk, bytes, { offset, length })
    else await this.#write(disk, bytes, { offset, length })
    return `disk ${key}, ${length} bytes at ${offset}`
  }

  async #write(disk: LabDiskRef, bytes: Buffer, area: { offset: number; length: number }): Promise<void> {
    // Some content occurs again and again, so that chunks are shared between disks and times.
    const seed = this.#random.next() < 0.3 ? 'again' : `${this.#random.next()}`
    const data = this.#random.next() < 0.1 ? Buffer.alloc(area.length) : noise(area.length, seed)
    await this.#control.write(disk, area.offset, data)
    data.copy(bytes, area.offset)
  }

  async #discard(disk: LabDiskRef, bytes: Buffer, area: { offset: number; length: number }): Promise<void> {
    await this.#control.discard(disk, area.offset, area.length)
    bytes.fill(0, area.offset, area.offset + area.length)
  }

  async #grow(): Promise<string | undefined> {
    const [key, disk] = this.#anyDisk()
    // vSphere refuses it under snapshots.
    if (this.#snapshots.length > 0 || disk.bytes.length > 4 * 1024 * 1024) return undefined
    const more = this.#random.between(1, 900) * SECTOR
    await this.#control.resize({ vm: this.#vm, key }, disk.bytes.length + more)
    this.#disks.set(key, { ...disk, bytes: Buffer.concat([disk.bytes, Buffer.alloc(more)]) })
    return `disk ${key} by ${more} bytes`
  }

  async #resetTracking(): Promise<string> {
    await this.#control.cbtReset(this.#vm)
    this.#trackingEra += 1
    return ''
  }

  async #takeSnapshot(): Promise<string | undefined> {
    if (this.#snapshots.length >= SNAPSHOTS_MAX) return undefined
    const moRef = await this.#control.userSnapshot(this.#vm, `user ${this.#random.next()}`)
    this.#snapshots.push({ moRef, disks: copyOf(this.#disks) })
    this.#current = moRef
    return moRef
  }

  async #removeSnapshot(): Promise<string | undefined> {
    // The simulator (govmomi 0.54) panics when the current snapshot is a root and goes before the others.
    const isSafe = ({ moRef }: { moRef: string }) => moRef !== this.#current || this.#snapshots.length === 1
    const snapshot = this.#random.pick(this.#snapshots.filter(isSafe))
    if (!snapshot) return undefined
    await this.#control.removeSnapshot(snapshot.moRef)
    this.#snapshots = this.#snapshots.filter(one => one !== snapshot)
    return snapshot.moRef
  }

  async #revert(): Promise<string | undefined> {
    const snapshot = this.#random.pick(this.#snapshots)
    if (!snapshot) return undefined
    await this.#control.revert(snapshot.moRef)
    this.#disks = copyOf(snapshot.disks)
    this.#current = snapshot.moRef
    this.#trackingEra += 1
    return `to ${snapshot.moRef}`
  }

  async #addDisk(): Promise<string | undefined> {
    if (this.#disks.size >= DISKS_MAX) return undefined
    const sizeBytes = 1024 * 1024 + this.#random.between(0, 2000) * SECTOR
    const key = await this.#control.addDisk(this.#vm, { sizeBytes })
    this.#disks.set(key, { bytes: Buffer.alloc(sizeBytes), identity: this.#newIdentity() })
    return `${key} of ${sizeBytes} bytes`
  }

  #reasonsOf(key: number, { identity, bytes }: ModelDisk): ReasonCode[] {
    if (!this.#seen) return ['first-backup']
    const before = this.#seen.get(key)
    if (!before) return ['disk-added']
    if (before.identity !== identity) return ['disk-replaced']
    if (before.sizeBytes !== bytes.length) return ['disk-resized']
    return before.trackingEra === this.#trackingEra ? [] : ['change-id-refused']
  }

  #anyDisk(): [number, ModelDisk] {
    const disk = this.#random.pick([...this.#disks])
    if (!disk) throw new Error('The VM has no disk')
    return disk
  }

  #newIdentity(): number {
    this.#identities += 1
    return this.#identities
  }
}

function copyOf(disks: ReadonlyMap<number, ModelDisk>): Map<number, ModelDisk> {
  return new Map([...disks].map(([key, disk]) => [key, { ...disk, bytes: Buffer.from(disk.bytes) }]))
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
