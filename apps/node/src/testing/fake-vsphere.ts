import {
  type CertificateThumbprint,
  type ChangedAreasQuery,
  type ConnectVsphere,
  type DiskArea,
  type SnapshotSpec,
  VsphereError,
  type VsphereErrorKind,
  type VsphereSession,
  type VsphereSnapshot,
  type VsphereTask,
  type VsphereVm,
} from '@sendense/vsphere'

type Method = keyof VsphereSession & string

/** A vCenter in memory: VMs, snapshots, and failures on demand. For tests of what a lab can not be made to do. */
export class FakeVsphere {
  readonly vms: VsphereVm[] = []
  readonly snapshots: (VsphereSnapshot & { vm: string })[] = []
  readonly calls: string[] = []
  /** Areas by change id; an id that is not here is refused. */
  readonly areas = new Map<string, DiskArea[]>([['*', [{ offset: 0, length: 65_536 }]]])
  /** Creations that run on, by task. */
  readonly runningTasks = new Map<string, { vm: string; finish: () => void; ended: Promise<void> }>()
  /** Run when a method is called, before it answers. */
  readonly onCall = new Map<string, () => void>()
  openSessions = 0
  instanceUuid = 'vcenter-1'
  password = 'right'
  readonly thumbprint: CertificateThumbprint = {
    sha1: 'CD'.repeat(20),
    sha256: 'AB'.repeat(32),
    subject: 'CN=vc',
    issuer: 'CN=vc',
    validFrom: new Date(0),
    validTo: new Date(0),
  }
  readonly #failures = new Map<Method | 'connect', VsphereError[]>()
  #nextSnapshot = 1

  /** The next calls of this method reject with these, one each. */
  failNext(method: Method | 'connect', ...errors: VsphereError[]): void {
    this.#failures.set(method, [...(this.#failures.get(method) ?? []), ...errors])
  }

  /** Names of the snapshots that exist. */
  get snapshotNames(): string[] {
    return this.snapshots.map(snapshot => snapshot.name)
  }

  addSnapshot(vm: string, spec: Pick<SnapshotSpec, 'name'> & { quiesce?: boolean }): string {
    const moRef = `snapshot-${this.#nextSnapshot++}`
    const { name, quiesce = false } = spec
    const createdAt = new Date('2026-01-01T00:00:00.000Z')
    const rest = { description: '', isCurrent: true, parent: undefined }
    this.snapshots.push({ vm, moRef, name, createdAt, isQuiesced: quiesce, ...rest })
    return moRef
  }

  /** A creation whose snapshot appears when `finish` is called. */
  addRunningCreation(vm: string, name: string): { finish: () => void } {
    const { promise, resolve } = Promise.withResolvers<void>()
    const task = `task-${this.runningTasks.size + 1}`
    const finish = () => {
      this.addSnapshot(vm, { name })
      this.runningTasks.delete(task)
      resolve()
    }
    this.runningTasks.set(task, { vm, finish, ended: promise })
    return { finish }
  }

  readonly connect: ConnectVsphere = async ({ password, signal }) => {
    signal?.throwIfAborted()
    await this.#enter('connect')
    if (password !== this.password) throw vsphereError('credentials', 'InvalidLogin')
    this.openSessions++
    return this.#session()
  }

  async #enter(method: Method | 'connect', signal?: AbortSignal): Promise<void> {
    this.calls.push(method)
    await Promise.resolve()
    this.onCall.get(method)?.()
    signal?.throwIfAborted()
    const failure = this.#failures.get(method)?.shift()
    if (failure) throw failure
  }

  #vm(moRef: string): VsphereVm {
    const vm = this.vms.find(one => one.moRef === moRef)
    if (!vm) throw vsphereError('not-found', 'ManagedObjectNotFound')
    return vm
  }

  #session(): VsphereSession {
    const notFaked = (): never => {
      throw new Error('not faked')
    }
    const enter = (method: Method, signal?: AbortSignal) => this.#enter(method, signal)
    const self = this
    return {
      about: {
        ...{ instanceUuid: this.instanceUuid, apiType: 'VirtualCenter', apiVersion: '8.0', version: '8.0.3' },
        ...{ build: '1', name: 'vc', fullName: 'vc' },
      },
      async *listVms() {
        await enter('listVms')
        yield* self.vms
      },
      getVm: async moRef => {
        await enter('getVm')
        return this.#vm(moRef)
      },
      findVm: async ({ instanceUuid }, { signal } = {}) => {
        await enter('findVm', signal)
        return this.vms.find(vm => vm.instanceUuid === instanceUuid)
      },
      enableChangeTracking: async moRef => {
        await enter('enableChangeTracking')
        Object.assign(this.#vm(moRef), { changeTrackingEnabled: true })
        return true
      },
      createSnapshot: async (vm, spec, { signal } = {}) => {
        await enter('createSnapshot', signal)
        return this.addSnapshot(vm, spec)
      },
      removeSnapshot: async moRef => {
        await enter('removeSnapshot')
        const index = this.snapshots.findIndex(snapshot => snapshot.moRef === moRef)
        if (index >= 0) this.snapshots.splice(index, 1)
        return index >= 0
      },
      listSnapshots: async vm => {
        await enter('listSnapshots')
        return this.snapshots.filter(snapshot => snapshot.vm === vm)
      },
      snapshotDisks: async moRef => {
        await enter('snapshotDisks')
        const snapshot = this.snapshots.find(one => one.moRef === moRef)
        return this.#vm(snapshot?.vm ?? '').disks.filter(disk => !disk.isIndependent)
      },
      queryChangedAreas: async query => {
        await enter('queryChangedAreas', query.signal)
        return this.#changedAreas(query)
      },
      findRunningTasks: async vm => {
        await enter('findRunningTasks')
        const ofVm = [...this.runningTasks].filter(([, task]) => task.vm === vm)
        return ofVm.map(([moRef]) => ({ ...RUNNING, moRef }))
      },
      waitForTask: async task => {
        await enter('waitForTask')
        await this.runningTasks.get(task)?.ended
        return undefined
      },
      powerState: notFaked,
      powerOn: notFaked,
      powerOff: notFaked,
      shutdownGuest: notFaked,
      waitForUpdates: notFaked,
      [Symbol.asyncDispose]: async () => {
        this.openSessions--
      },
    }
  }

  #changedAreas({ changeId }: ChangedAreasQuery): DiskArea[] {
    const areas = this.areas.get(changeId)
    if (!areas) throw vsphereError('file', 'FileFault')
    return areas
  }
}

export function vsphereError(kind: VsphereErrorKind, fault: string): VsphereError {
  return new VsphereError({ kind, fault, message: `The call failed with ${fault}` })
}

const RUNNING: Omit<VsphereTask, 'moRef'> = {
  descriptionId: 'VirtualMachine.createSnapshot',
  state: 'running',
  queuedAt: undefined,
  user: undefined,
}
