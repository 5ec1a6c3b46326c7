import { randomUUID } from 'node:crypto'
import type {
  ByteCounters,
  CaptureOrder,
  HubMethods,
  JobId,
  TunnelHandlers,
  VmManifest,
} from '@sendense/contracts'
import {
  type CaptureSession,
  type CommitReport,
  type DataPlane,
  diskFileName,
  EngineError,
  initRepository,
  listenDataPlane,
  type Repository,
} from '@sendense/engine'
import { AppError } from '@sendense/platform'
import { FakeHub } from '../../apps/node/src/testing/fake-hub.ts'
import { waitFor } from '../support/child.ts'
import type { Lab } from '../support/lab.ts'
import type { LabVm } from '../support/lab-state.ts'
import type { PrivateDir } from '../support/private-dir.ts'

type Params<N extends keyof HubMethods> = Parameters<TunnelHandlers<HubMethods>[N]>[0]
type Finish = Params<'finishCapture'>

/** What a capture has come to on this side. */
export interface ReceivedCapture {
  readonly order: { readonly jobId: JobId; readonly base: ReceivedCapture | undefined }
  plan?: Params<'planCapture'>
  readonly begun: Map<number, Params<'beginDisk'>>
  readonly steps: string[]
  /** Run when a step is reported; the Node waits for it. */
  onStep?: ((step: string) => Promise<void> | void) | undefined
  readonly progress: ByteCounters[]
  session?: CaptureSession
  committing?: Promise<CommitReport | undefined>
  bytes?: readonly { diskKey: number; bytes: ByteCounters }[]
  restorePointId?: string
  finish?: Finish
}

/** What a test may say about an order. */
interface OrderOptions extends Partial<CaptureOrder> {
  readonly base?: ReceivedCapture
  readonly password?: string
  readonly onStep?: ReceivedCapture['onStep']
}

/** A Hub with a real repository and a real data plane, and in place of jobs and databases what the test says. */
export class EngineHub implements AsyncDisposable {
  readonly hub: FakeHub
  readonly repository: Repository
  readonly captures = new Map<JobId, ReceivedCapture>()
  readonly #dir: PrivateDir
  readonly #dataPlane: DataPlane

  private constructor(dir: PrivateDir, hub: FakeHub, repository: Repository, dataPlane: DataPlane) {
    this.#dir = dir
    this.hub = hub
    this.repository = repository
    this.#dataPlane = dataPlane
  }

  static async start(dir: PrivateDir): Promise<EngineHub> {
    // The handlers are those of the object that is made last.
    const late: { handlers?: TunnelHandlers<HubMethods> } = {}
    const forward = <N extends keyof HubMethods>(name: N) =>
      (async (params: never) => late.handlers?.[name](params)) as unknown as TunnelHandlers<HubMethods>[N]
    const hub = await FakeHub.start({
      handlers: {
        reportStep: forward('reportStep'),
        reportProgress: forward('reportProgress'),
        planCapture: forward('planCapture'),
        beginDisk: forward('beginDisk'),
        commitCapture: forward('commitCapture'),
        finishCapture: forward('finishCapture'),
      },
    })
    const repository = await initRepository({
      place: { type: 'local', path: dir.join('repository') },
      password: 'repository',
    })
    const { certificatePem, privateKeyPem } = hub
    const dataPlane = await listenDataPlane({ host: '127.0.0.1', port: 0, certificatePem, privateKeyPem })
    const self = new EngineHub(dir, hub, repository, dataPlane)
    late.handlers = self.#handlers()
    return self
  }

  /** Orders a capture from the Node. With a base it may be incremental. */
  async order(
    lab: Lab,
    vm: LabVm & { instanceUuid: string },
    over: OrderOptions = {},
  ): Promise<ReceivedCapture> {
    const { base, password = lab.password, onStep, ...rest } = over
    const jobId = randomUUID() as JobId
    const received: ReceivedCapture = {
      ...{ order: { jobId, base }, begun: new Map(), steps: [], progress: [], onStep },
    }
    this.captures.set(jobId, received)
    await this.hub.node.startCapture({
      jobId,
      vcenter: {
        ...{
          host: lab.host,
          port: lab.port,
          thumbprint: lab.thumbprintSha256.replaceAll(':', '').toLowerCase(),
        },
        sealedCredentials: await this.hub.seal({ username: lab.user, password }),
      },
      vcenterInstanceUuid: await this.vcenterUuid(lab),
      vm: { instanceUuid: vm.instanceUuid, moRef: vm.ref, name: vm.name },
      quiesce: false,
      limits: {},
      ...rest,
    })
    return received
  }

  /** Orders a capture and waits for its end. */
  async capture(...args: Parameters<EngineHub['order']>): Promise<ReceivedCapture & { finish: Finish }> {
    return this.ended(await this.order(...args))
  }

  async ended(capture: ReceivedCapture, timeoutMs = 40_000): Promise<ReceivedCapture & { finish: Finish }> {
    const { jobId } = capture.order
    const finish = await waitFor(`the end of ${jobId}`, () => capture.finish, timeoutMs)
    return Object.assign(capture, { finish })
  }

  /** Restores a disk of a capture into a file. */
  async restore({ restorePointId, order }: ReceivedCapture, diskKey: number): Promise<string> {
    if (restorePointId === undefined) throw new Error('There is no restore point')
    const targetPath = this.#dir.join(`${order.jobId}-${diskKey}.raw`)
    const file = diskFileName(String(diskKey))
    await this.repository.restoreDisk({ restorePointId, file, targetPath, overwrite: true })
    return targetPath
  }

  #uuid: string | undefined

  async vcenterUuid(lab: Lab): Promise<string> {
    const thumbprint = lab.thumbprintSha256.replaceAll(':', '').toLowerCase()
    const sealedCredentials = await this.hub.seal({ username: lab.user, password: lab.password })
    const vcenter = { host: lab.host, port: lab.port, thumbprint, sealedCredentials }
    this.#uuid ??= (await this.hub.node.testVcenter({ vcenter })).instanceUuid
    return this.#uuid
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { session } of this.captures.values()) await session?.abort()
    await this.hub[Symbol.asyncDispose]()
    await this.#dataPlane.close()
    await this.repository.close()
  }

  #handlers(): TunnelHandlers<HubMethods> {
    return {
      hello: async () => {
        throw new AppError('internal')
      },
      reportStep: async ({ jobId, step, state }) => {
        const capture = this.#of(jobId)
        capture.steps.push(`${step} ${state}`)
        await capture.onStep?.(`${step} ${state}`)
        return {}
      },
      reportProgress: async ({ jobId, disks }) => {
        this.#of(jobId).progress.push(...disks.map(disk => disk.bytes))
        return {}
      },
      planCapture: params => this.#plan(this.#of(params.jobId), params),
      beginDisk: params => this.#begin(this.#of(params.jobId), params),
      commitCapture: params => this.#commit(this.#of(params.jobId), params),
      finishCapture: async params => {
        const capture = this.#of(params.jobId)
        await capture.session?.abort()
        capture.finish = params
        return {}
      },
    }
  }

  #of(jobId: JobId): ReceivedCapture {
    const capture = this.captures.get(jobId)
    if (!capture) throw new AppError('capture-unknown')
    return capture
  }

  async #plan(capture: ReceivedCapture, params: Params<'planCapture'>) {
    capture.plan = params
    capture.session ??= await this.repository.beginCapture({
      ...{
        captureId: params.jobId,
        dataPlane: this.#dataPlane,
        chunkBytes: 1024 * 1024,
        idleTimeoutMs: 60_000,
      },
    })
    const { base } = capture.order
    return {
      disks: params.disks.map(({ diskKey }) => planDisk(diskKey, params.manifest, base)),
      dataPlane: {
        ...{ port: this.#dataPlane.port, captureId: capture.session.id, ticket: capture.session.ticket },
        chunkBytes: 1024 * 1024,
      },
    }
  }

  async #begin(capture: ReceivedCapture, params: Params<'beginDisk'>) {
    const { diskKey, sizeBytes, mode } = params
    const restorePointId = capture.order.base?.restorePointId
    const file = diskFileName(String(diskKey))
    const base = mode === 'incremental' && restorePointId !== undefined && { base: { restorePointId, file } }
    await asAppError(capture.session?.beginDisk({ diskKey: String(diskKey), sizeBytes, ...base }))
    capture.begun.set(diskKey, params)
    return {}
  }

  async #commit(capture: ReceivedCapture, params: Params<'commitCapture'>) {
    const options = { hostname: 'vm', time: new Date(), tags: [], files: [] }
    capture.committing ??= asAppError(capture.session?.commit(options))
    const report = await capture.committing
    capture.bytes = params.disks
    capture.restorePointId = report?.restorePointId ?? ''
    return { backupId: params.jobId as never, restorePointId: capture.restorePointId }
  }
}

function planDisk(diskKey: number, manifest: VmManifest, base: ReceivedCapture | undefined) {
  if (!base) return { diskKey, reason: 'first-backup' as const }
  const before = base.plan?.manifest.disks.find(disk => disk.key === diskKey)
  const now = manifest.disks.find(disk => disk.key === diskKey)
  const changeId = base.plan?.disks.find(disk => disk.diskKey === diskKey)?.changeId
  if (!before) return { diskKey, reason: 'disk-added' as const }
  if (before.capacityBytes !== now?.capacityBytes) return { diskKey, reason: 'disk-resized' as const }
  if (!changeId) return { diskKey, reason: 'change-id-missing' as const }
  return { diskKey, baseChangeId: changeId }
}

async function asAppError<T>(call: Promise<T> | undefined): Promise<T | undefined> {
  try {
    return await call
  } catch (error) {
    if (error instanceof EngineError) throw new AppError(error.code as never, { detail: error.message })
    throw error
  }
}
