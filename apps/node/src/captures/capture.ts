import type { CaptureOrder, CaptureState, HubMethods, TunnelCaller } from '@sendense/contracts'
import type { captureDisk } from '@sendense/engine'
import { AppError, type Clock, type Logger } from '@sendense/platform'
import type { VsphereDisk, VsphereSession } from '@sendense/vsphere'
import { exclusionOf } from '../discovery/discovered-vm.ts'
import type { DiskReaders } from '../disk-reader/disk-reader.ts'
import type { HubCalls } from '../hub-link/hub-calls.ts'
import type { Ledger, LedgerRecord } from '../ledger/ledger.ts'
import type { CaptureOutcome, SnapshotEntry } from '../ledger/ledger-entry.ts'
import { describeLeftovers } from '../ledger/leftovers.ts'
import { removeRecordedSnapshots } from '../ledger/remove-snapshots.ts'
import type { VcenterConnector } from '../vcenter/vcenter-connector.ts'
import { captureProblem } from './capture-problem.ts'
import { CaptureProgress } from './capture-progress.ts'
import { CaptureSteps } from './capture-steps.ts'
import { type PreparedVm, prepareVm } from './prepare-vm.ts'
import { type PlannedDisk, readDisks } from './read-disks.ts'
import { type TakenSnapshot, takeSnapshot } from './take-snapshot.ts'
import { toManifest } from './vm-manifest.ts'
import { type BusyPatience, whileBusy } from './while-busy.ts'

/** The Hub as captures see it. */
export interface CaptureTarget {
  readonly hub: HubCalls
  readonly hubHost: string
  readonly hubCertificateSha256: string
}

export interface CaptureDeps {
  readonly vcenters: VcenterConnector
  readonly target: CaptureTarget
  readonly ledger: Ledger
  readonly readers: DiskReaders
  readonly captureDisk: typeof captureDisk
  readonly clock: Clock
  readonly log: Logger
  /** How long to wait for a VM that another task holds. */
  readonly busyWaitMs?: number
  /** How long the Hub may be away in the middle of a capture. Meanwhile the snapshot grows. */
  readonly hubPatienceMs?: number
}

const BUSY_WAIT_MS = 5 * 60_000
const HUB_PATIENCE_MS = 10 * 60_000

/**
 * One capture, from the order to the last word:
 *
 * 1. prepare: log in, find the VM by its identity, switch changed block tracking on;
 * 2. snapshot: one for all disks, in the ledger before it is ordered;
 * 3. read: the Hub says what it knows of each disk, then the disks are read and sent, some at a time;
 * 4. commit: the Hub makes the restore point, of all disks or of none;
 * 5. clean-up: always, whatever happened before; what cannot be removed now is left to the sweeper.
 */
export class Capture {
  readonly order: CaptureOrder
  readonly #deps: CaptureDeps
  readonly #log: Logger
  readonly #cancelled = new AbortController()
  /** The Hub will never answer this Node again. */
  readonly #expelled = new AbortController()
  readonly #steps: CaptureSteps
  readonly #progress: CaptureProgress
  #outcome: CaptureOutcome | undefined

  constructor(order: CaptureOrder, deps: CaptureDeps) {
    const { clock, log, target } = deps
    this.order = order
    this.#deps = deps
    this.#log = log.child({ jobId: order.jobId, vm: order.vm.name })
    this.#steps = new CaptureSteps({ jobId: order.jobId, hub: target.hub, clock })
    this.#progress = new CaptureProgress({ jobId: order.jobId, hub: target.hub, clock })
  }

  get state(): CaptureState {
    return {
      jobId: this.order.jobId,
      state: this.#outcome?.state ?? 'running',
      step: this.#steps.current,
      failure: this.#outcome?.failure ?? null,
    }
  }

  /**
   * Asks the capture to stop. It ends when it has cleaned up. A commit that was ordered is waited for, unless the Hub
   * has expelled this Node: then no answer will come.
   */
  cancel(reason: AppError): void {
    this.#cancelled.abort(reason)
    if (reason.code === 'node-revoked' || reason.code === 'node-rejected') this.#expelled.abort(reason)
  }

  /** Runs to the end. Never rejects: how it ended is the result. */
  async run(): Promise<CaptureOutcome> {
    const cleanUp = new AsyncDisposableStack()
    const problem = await this.#capture(cleanUp).then(
      () => undefined,
      (error: unknown) => captureProblem(error, this.#cancelled.signal),
    )
    if (problem) this.#log.warn('A capture did not succeed', { error: problem })
    await this.#steps.run('clean-up', () => cleanUp.disposeAsync())
    const leftovers = describeLeftovers(this.#deps.ledger, this.order.jobId)
    this.#outcome = { ...verdict(problem), leftovers }
    this.#log.info('A capture has ended', { state: this.#outcome.state, leftovers })
    return this.#outcome
  }

  async #capture(cleanUp: AsyncDisposableStack): Promise<void> {
    const prepared = await this.#steps.run('prepare', () => this.#prepare(cleanUp))
    const snapshot = await this.#steps.run('snapshot', () => this.#snapshot(prepared, cleanUp))
    await this.#steps.run('read', () => this.#read(prepared, snapshot))
    await this.#steps.run('commit', () => this.#commit())
  }

  async #prepare(cleanUp: AsyncDisposableStack): Promise<Prepared> {
    const { signal } = this.#cancelled
    const session = await this.#deps.vcenters.connect(this.order.vcenter, signal)
    cleanUp.defer(() => this.#logOut(session))
    const prepared = await prepareVm(session, this.order, { patience: this.#patience, signal })
    if (!prepared.vm.disks.some(isInSnapshots)) throw nothingToProtect(prepared)
    return { ...prepared, session }
  }

  async #snapshot({ session, vm }: Prepared, cleanUp: AsyncDisposableStack): Promise<TakenSnapshot> {
    const { ledger } = this.#deps
    const onRecorded = (record: LedgerRecord<SnapshotEntry>) =>
      cleanUp.defer(() => this.#removeSnapshot(session, record))
    const deps = { session, ledger, patience: this.#patience, onRecorded }
    return takeSnapshot(this.order, vm, deps, this.#cancelled.signal)
  }

  async #read(prepared: Prepared, snapshot: TakenSnapshot): Promise<void> {
    const { signal } = this.#cancelled
    const { vcenters, target, readers, captureDisk } = this.#deps
    const { session, vm, tracking } = prepared
    const { disks, dataPlane } = await this.#plan(prepared, snapshot)
    const server = await vcenters.readerAccess(this.order.vcenter)
    for (const { disk } of disks) this.#progress.expect(disk.key, disk.capacityBytes)
    const reading = readDisks(
      disks,
      {
        ...{ order: this.order, session, vmMoRef: vm.moRef, snapshotMoRef: snapshot.moRef, tracking },
        ...{ server, dataPlane, readers, captureDisk, progress: this.#progress, log: this.#log },
        ...target,
      },
      signal,
    )
    await this.#progress.during(reading)
  }

  /** Tells the Hub what is in the snapshot. It answers what it knows of each disk, and where to send to. */
  async #plan({ session, vm, reasons }: Prepared, snapshot: TakenSnapshot) {
    const { signal } = this.#cancelled
    // The configuration may have changed until the snapshot was taken; from here on it is what it was then.
    const vmNow = await session.getVm(vm.moRef, { signal })
    const disks = (await session.snapshotDisks(snapshot.moRef, { signal })).filter(isInSnapshots)
    if (disks.length === 0) throw nothingToProtect({ vm })
    const { jobId, vcenterInstanceUuid } = this.order
    const answer = await this.#ask(hub =>
      hub.planCapture({
        jobId,
        capturedAt: snapshot.capturedAt.toISOString(),
        isQuiesced: snapshot.isQuiesced,
        reasons: [...reasons, ...snapshot.reasons],
        manifest: toManifest(vmNow, disks, vcenterInstanceUuid),
        disks: disks.map(({ key, changeId }) => ({ diskKey: key, changeId: changeId ?? null })),
      }),
    )
    const planned = disks.map(disk => ({
      disk,
      plan: answer.disks.find(plan => plan.diskKey === disk.key) ?? { diskKey: disk.key },
    })) satisfies PlannedDisk[]
    return { disks: planned, dataPlane: answer.dataPlane }
  }

  /** Not cancelled in the middle: the restore point may exist as soon as this was sent. */
  async #commit(): Promise<void> {
    this.#cancelled.signal.throwIfAborted()
    const params = { jobId: this.order.jobId, disks: this.#progress.bytesOfDisks() }
    await this.#ask(hub => hub.commitCapture(params), this.#expelled.signal)
  }

  /** Bounded in time: a snapshot must not grow for ever because the Hub is away. */
  async #ask<T>(call: (hub: Hub) => Promise<T>, signal = this.#cancelled.signal): Promise<T> {
    const { target, hubPatienceMs = HUB_PATIENCE_MS } = this.#deps
    const patience = AbortSignal.timeout(hubPatienceMs)
    try {
      return await target.hub.ask(call, AbortSignal.any([signal, patience]))
    } catch (error) {
      if (signal.aborted || !patience.aborted) throw error
      const detail = `The Hub was away for ${hubPatienceMs / 1000} s in the middle of a capture`
      throw new AppError('node-unreachable', { detail, cause: error })
    }
  }

  async #removeSnapshot(session: VsphereSession, record: LedgerRecord<SnapshotEntry>): Promise<void> {
    const { clock } = this.#deps
    try {
      await whileBusy(this.#patience, undefined, () => removeRecordedSnapshots(session, record, clock))
    } catch (error) {
      record.abandon()
      this.#log.warn('A snapshot could not be removed; it will be swept', { error })
    }
  }

  async #logOut(session: VsphereSession): Promise<void> {
    try {
      await session[Symbol.asyncDispose]()
    } catch (error) {
      this.#log.debug('The logout from the vCenter failed; the session ends by itself', { error })
    }
  }

  get #patience(): BusyPatience {
    return { clock: this.#deps.clock, waitMs: this.#deps.busyWaitMs ?? BUSY_WAIT_MS }
  }
}

type Hub = TunnelCaller<HubMethods>

interface Prepared extends PreparedVm {
  readonly session: VsphereSession
}

function isInSnapshots(disk: VsphereDisk): boolean {
  return exclusionOf(disk) === null
}

function nothingToProtect({ vm }: Pick<PreparedVm, 'vm'>): AppError {
  const excluded = vm.disks.map(disk => `${disk.label}: ${exclusionOf(disk)?.code}`)
  const detail = `The VM "${vm.name}" has no disk that snapshots hold (${excluded.join(', ') || 'no disks'})`
  return new AppError('vm-nothing-to-protect', { detail })
}

function verdict(problem: AppError | undefined): Pick<CaptureOutcome, 'state' | 'failure'> {
  if (!problem) return { state: 'succeeded', failure: null }
  if (problem.code === 'job-cancelled') return { state: 'cancelled', failure: null }
  return { state: 'failed', failure: problem.toFailure() }
}
