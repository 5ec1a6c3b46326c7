import {
  type HubMethods,
  type NodeId,
  reasonOf,
  TUNNEL_VERSION,
  type TunnelHandlers,
  type VmManifest,
} from '@sendense/contracts'
import type { CaptureSession, DataPlane } from '@sendense/engine'
import { AppError, type Clock, type Logger, VERSION } from '@sendense/platform'
import { throwFromEngine } from '../../platform/engine/engine-problem.ts'
import type { BackupsPorts } from './backups.ports.ts'
import type { Backup, BackupsStore } from './backups.store.ts'
import { baseRefusalOf } from './base-refusal.ts'
import { planDisk } from './base-selection.ts'
import {
  type ActiveCapture,
  type CaptureRegistry,
  type Committed,
  endCapture,
  mergeReasons,
} from './capture-registry.ts'
import { absenceOf, findBase } from './find-base.ts'
import {
  backupTag,
  completionOf,
  diskFile,
  MANIFEST_FILE,
  type RestorePointManifest,
} from './restore-point-manifest.ts'

/** A session whose Node is silent for this long ends by itself; what it stored stays. */
const SESSION_IDLE_MS = 10 * 60_000
/** So long a restore point that was made waits for a database that is away. Afterwards it is found in its repository. */
const RECORD_MS = 10 * 60_000
const RECORD_AGAIN_MS = 2000

interface Options {
  store: BackupsStore
  captures: CaptureRegistry
  dataPlane: DataPlane
  ports: BackupsPorts
  clock: Clock
  log: Logger
  /** Notes a sign of life. */
  onHello(nodeId: NodeId, version: string): Promise<void>
}

type Params<N extends keyof HubMethods> = Parameters<TunnelHandlers<HubMethods>[N]>[0]

/**
 * The Hub's side of a capture. The Node calls in this order: planCapture once its snapshot stands, beginDisk for
 * each disk, then it sends over the data plane, then commitCapture, then it cleans up and calls finishCapture.
 */
export class CaptureHandlers {
  readonly #options: Options

  constructor(options: Options) {
    this.#options = options
  }

  /** The methods for one Node. */
  for(nodeId: NodeId): TunnelHandlers<HubMethods> {
    const own = (params: { jobId: Params<'reportStep'>['jobId'] }) =>
      this.#options.captures.ofNode(nodeId, params.jobId)
    return {
      hello: params => this.#hello(nodeId, params),
      reportStep: async params => {
        await this.#options.ports.jobs.setStep(own(params).backup.jobId, params.step, params.state)
        return {}
      },
      reportProgress: async params => {
        this.#options.ports.jobs.report(own(params).backup.jobId, params.disks)
        return {}
      },
      planCapture: async params => this.#plan(own(params), params),
      beginDisk: async params => this.#beginDisk(own(params), params),
      commitCapture: params => this.#commit(nodeId, params),
      finishCapture: async params => this.#finish(nodeId, params),
    }
  }

  async #hello(nodeId: NodeId, { version, tunnelVersion, captures }: Params<'hello'>) {
    if (Math.abs(tunnelVersion - TUNNEL_VERSION) > 1) {
      throw new AppError('protocol-mismatch', {
        detail: `The Node speaks version ${tunnelVersion} of the tunnel, the Hub ${TUNNEL_VERSION}.`,
      })
    }
    await this.#options.onHello(nodeId, version)
    const known = new Map(captures.map(capture => [capture.jobId, capture]))
    for (const capture of this.#options.captures.allOf(nodeId)) {
      if (!known.has(capture.backup.jobId)) {
        endCapture(capture, 'node-lost', 'The Node was restarted during the capture.')
      }
    }
    for (const { jobId, state } of captures) {
      if (state === 'running' && !this.#options.captures.find(jobId)) this.#cancelOrphan(nodeId, jobId)
    }
    return { version: VERSION, tunnelVersion: TUNNEL_VERSION }
  }

  /** A capture that the Hub gave up while the tunnel was down: the Node shall clean it up. */
  #cancelOrphan(nodeId: NodeId, jobId: Params<'finishCapture'>['jobId']): void {
    this.#options.ports.tunnels
      .call(nodeId)
      .cancelCapture({ jobId })
      .catch(error =>
        this.#options.log.warn('An orphaned capture could not be cancelled', { nodeId, jobId, error }),
      )
  }

  async #plan(capture: ActiveCapture, params: Params<'planCapture'>) {
    const { backup, requestedMode, repository } = capture
    const { base, reasons } = await findBase(this.#options.store, backup, repository)
    capture.base = base
    capture.facts = {
      capturedAt: new Date(params.capturedAt),
      isQuiesced: params.isQuiesced,
      reasons: [...params.reasons, ...reasons],
      manifest: params.manifest,
      changeIds: new Map(params.disks.map(disk => [disk.diskKey, disk.changeId])),
    }
    const session = capture.session ?? (await this.#openSession(capture))
    capture.session = session
    const selection = { requestedMode, chunkBytes: backup.chunkBytes, base, absence: absenceOf(reasons) }
    return {
      disks: params.disks.map(({ diskKey }) => planDisk(diskOf(params.manifest, diskKey), selection)),
      dataPlane: {
        port: this.#options.dataPlane.port,
        captureId: session.id,
        ticket: session.ticket,
        chunkBytes: backup.chunkBytes,
      },
    }
  }

  async #openSession({
    repository,
    backup,
    nodeId,
    bytesPerSecondMax,
  }: ActiveCapture): Promise<CaptureSession> {
    const rateLimits = [await this.#options.ports.nodes.rateLimitOf(nodeId)]
    return repository
      .beginCapture({
        captureId: backup.jobId,
        dataPlane: this.#options.dataPlane,
        chunkBytes: backup.chunkBytes,
        idleTimeoutMs: SESSION_IDLE_MS,
        rateLimits,
        ...(bytesPerSecondMax !== undefined && { bytesPerSecondMax }),
      })
      .catch(throwFromEngine)
  }

  async #beginDisk(capture: ActiveCapture, params: Params<'beginDisk'>) {
    const { session, facts, base } = planned(capture)
    const { diskKey, sizeBytes, mode } = params
    const begun = capture.disks.get(diskKey)
    // The Node asks again when the link broke before the answer.
    if (begun?.mode === mode && begun.sizeBytes === sizeBytes) return {}
    const disk = diskOf(facts.manifest, diskKey)
    const before = base?.disks.find(one => one.key === diskKey)
    if (mode === 'incremental' && (!base || !before)) {
      throw new AppError('conflict', { detail: `There is no base for disk ${diskKey}.` })
    }
    const from =
      mode === 'incremental' && base && before
        ? { base: { restorePointId: base.restorePointId, file: before.file } }
        : {}
    await session.beginDisk({ diskKey: String(diskKey), sizeBytes, ...from }).catch(async error => {
      const refusal = from.base && base ? baseRefusalOf(error) : undefined
      if (!base || !refusal) return throwFromEngine(error)
      if (refusal.isDamaged) await this.#options.store.markDamaged(base.backupId, this.#options.clock.now())
      // The Node reads the whole disk then.
      throw new AppError(refusal.code, { detail: 'The base does not serve', cause: error })
    })
    const planReason =
      mode === 'full'
        ? planDisk(disk, {
            requestedMode: capture.requestedMode,
            chunkBytes: capture.backup.chunkBytes,
            base,
            absence: absenceOf(facts.reasons),
          }).reason
        : undefined
    capture.disks.set(diskKey, {
      key: diskKey,
      file: diskFile(diskKey),
      sizeBytes,
      mode,
      reasons: mergeReasons(planReason, params.reasons),
    })
    return {}
  }

  /** Asked again, because the link broke before the answer, it answers the same: there is one commit a capture. */
  async #commit(nodeId: NodeId, params: Params<'commitCapture'>): Promise<Committed> {
    const capture = this.#options.captures.ofNode(nodeId, params.jobId)
    capture.committing ??= this.#makeRestorePoint(capture, params.disks)
    return capture.committing
  }

  async #makeRestorePoint(
    capture: ActiveCapture,
    disks: Params<'commitCapture'>['disks'],
  ): Promise<Committed> {
    const { session } = planned(capture)
    const { store, clock, log } = this.#options
    const backupId = capture.backup.id
    const manifest = manifestOf(capture, disks, session.counters().disks)
    const { restorePointId } = await session
      .commit({
        hostname: manifest.vm.name,
        // Names change; under this one all restore points of the VM stand beside each other.
        directory: manifest.vm.instanceUuid,
        time: new Date(manifest.capturedAt),
        tags: ['sendense', backupTag(backupId)],
        files: [{ name: MANIFEST_FILE, text: JSON.stringify(manifest, null, 2) }],
        ...(capture.base && { parent: capture.base.restorePointId }),
      })
      .catch(throwFromEngine)
    const completion = completionOf(manifest, { restorePointId, finishedAt: clock.now() })
    await this.#whenDatabaseAnswers(() => store.complete(backupId, completion))
    log.info('A restore point was made', { backupId, restorePointId })
    return { backupId, restorePointId }
  }

  /** What is in the repository has succeeded, whether or not it can be written down at once. */
  async #whenDatabaseAnswers(write: () => Promise<unknown>): Promise<void> {
    const { clock, log } = this.#options
    const giveUpAt = clock.now().getTime() + RECORD_MS
    for (;;) {
      try {
        await write()
        return
      } catch (error) {
        if (!AppError.is(error, 'database-unavailable') || clock.now().getTime() >= giveUpAt) throw error
        log.warn('A restore point that was made cannot be written down yet', { error })
        await clock.sleep(RECORD_AGAIN_MS)
      }
    }
  }

  /** The Node may say it twice, or of a capture that the Hub has forgotten: both are fine. */
  #finish(nodeId: NodeId, { jobId, state, failure, leftovers }: Params<'finishCapture'>) {
    const capture = this.#options.captures.find(jobId)
    if (capture?.nodeId === nodeId) capture.outcome.resolve({ state, failure, leftovers })
    if (leftovers.length > 0)
      this.#options.log.warn('The Node could not clean up everything', { jobId, leftovers })
    return {}
  }
}

function planned(capture: ActiveCapture) {
  const { session, facts, base } = capture
  if (!session || !facts) throw new AppError('conflict', { detail: 'The capture was not planned yet.' })
  return { session, facts, base }
}

function diskOf(manifest: VmManifest, diskKey: number) {
  const disk = manifest.disks.find(one => one.key === diskKey)
  if (!disk) throw new AppError('request-invalid', { detail: `The manifest has no disk ${diskKey}.` })
  return disk
}

function manifestOf(
  capture: ActiveCapture,
  reported: Params<'commitCapture'>['disks'],
  received: readonly { diskKey: string; storedBytes: number }[],
): RestorePointManifest {
  const { facts } = planned(capture)
  const { backup, disks, base } = capture
  const all = [...disks.values()].map(disk => {
    const bytes = reported.find(one => one.diskKey === disk.key)?.bytes
    const storedBytes = received.find(one => one.diskKey === String(disk.key))?.storedBytes
    if (!bytes || storedBytes === undefined) {
      throw new AppError('capture-incomplete', { detail: `Nothing was said about disk ${disk.key}.` })
    }
    return {
      ...disk,
      label: diskOf(facts.manifest, disk.key).label,
      uuid: diskOf(facts.manifest, disk.key).uuid,
      changeId: facts.changeIds.get(disk.key) ?? null,
      bytes: { ...bytes, storedBytes },
    }
  })
  if (all.length !== facts.changeIds.size) {
    throw new AppError('capture-incomplete', { detail: 'Not every disk of the snapshot was captured.' })
  }
  const isIncremental = all.some(disk => disk.mode === 'incremental')
  return {
    format: 'sendense-restore-point',
    version: 1,
    backupId: backup.id,
    jobId: backup.jobId,
    vmId: backup.vmId,
    vcenterId: capture.vm.vcenterId,
    nodeId: capture.nodeId,
    baseBackupId: isIncremental && base ? base.backupId : null,
    chunkBytes: backup.chunkBytes,
    startedAt: backup.startedAt.toISOString(),
    capturedAt: facts.capturedAt.toISOString(),
    isQuiesced: facts.isQuiesced,
    vm: facts.manifest,
    disks: all,
    skippedDisks: skippedOf(facts.manifest, disks),
    reasons: facts.reasons,
    tags: backup.tags,
  }
}

function skippedOf(manifest: VmManifest, captured: ReadonlyMap<number, unknown>): Backup['skippedDisks'] {
  return manifest.disks
    .filter(disk => !captured.has(disk.key))
    .map(({ key, label, excluded }) => ({ key, label, reason: excluded ?? reasonOf('disk-unsupported') }))
}
