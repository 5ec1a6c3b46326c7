import {
  BASE_TROUBLES,
  type BaseTrouble,
  type CaptureOrder,
  type DataPlaneAccess,
  type DiskPlan,
} from '@sendense/contracts'
import { type captureDisk, EngineError } from '@sendense/engine'
import { AppError, type Logger } from '@sendense/platform'
import type { VsphereDisk, VsphereSession } from '@sendense/vsphere'
import type { DiskReaders, DiskSource } from '../disk-reader/disk-reader.ts'
import type { HubCalls } from '../hub-link/hub-calls.ts'
import { forEachLimited } from '../platform/for-each-limited.ts'
import { engineProblem } from './capture-problem.ts'
import type { CaptureProgress } from './capture-progress.ts'
import { chooseAreas, chooseFullBecause, type ReadPlan, type SnapshotDisk } from './choose-areas.ts'
import type { ChangeTracking } from './prepare-vm.ts'

/** Everything that the disks of a capture have in common. */
export interface ReadDisksContext {
  readonly order: CaptureOrder
  readonly session: VsphereSession
  readonly vmMoRef: string
  readonly snapshotMoRef: string
  readonly tracking: ChangeTracking
  readonly server: DiskSource['server']
  readonly dataPlane: DataPlaneAccess
  /** Host name and pinned certificate of the Hub. */
  readonly hubHost: string
  readonly hubCertificateSha256: string
  readonly hub: HubCalls
  readonly readers: DiskReaders
  readonly captureDisk: typeof captureDisk
  readonly progress: CaptureProgress
  readonly log: Logger
}

/** A disk and what the Hub knows about it. */
export interface PlannedDisk {
  readonly disk: VsphereDisk
  readonly plan: DiskPlan
}

/**
 * Reads the disks, some at a time. A disk for which the host has no connection left waits until the others are
 * done and is tried once more with a single one: the others may be who holds them.
 */
export async function readDisks(
  disks: readonly PlannedDisk[],
  context: ReadDisksContext,
  signal: AbortSignal,
): Promise<void> {
  const { disksAtOnce, connections } = context.order.limits
  const starved: ChosenDisk[] = []
  await forEachLimited(disks, { atOnce: disksAtOnce, signal }, async (planned, either) => {
    const chosen = await begin(planned, context, either)
    await read(
      chosen,
      { connections, disksAtOnce: Math.min(disksAtOnce, disks.length) },
      context,
      either,
    ).catch(error => {
      if (!isSessionLimit(error)) throw error
      starved.push(chosen)
    })
  })
  for (const chosen of starved) {
    const { label } = chosen.disk
    context.log.warn('The host had no connection left for a disk; trying it alone', { disk: label })
    await read(chosen, { connections: 1, disksAtOnce: 1 }, context, signal)
  }
}

interface ChosenDisk {
  readonly disk: VsphereDisk
  readonly plan: ReadPlan
}

/** Chooses what to read, and tells the Hub before the first byte. */
async function begin(
  { disk, plan }: PlannedDisk,
  context: ReadDisksContext,
  signal: AbortSignal,
): Promise<ChosenDisk> {
  const { order, hub, session, vmMoRef, snapshotMoRef, tracking } = context
  const snapshotDisk: SnapshotDisk = { session, vmMoRef, snapshotMoRef, disk, tracking }
  const announce = async (chosen: ReadPlan) => {
    const { mode, reasons } = chosen
    const params = { jobId: order.jobId, diskKey: disk.key, sizeBytes: disk.capacityBytes, mode }
    await hub.ask(h => h.beginDisk({ ...params, reasons: [...reasons] }), signal)
    return { disk, plan: chosen }
  }
  const chosen = await chooseAreas(snapshotDisk, plan, signal)
  try {
    return await announce(chosen)
  } catch (error) {
    const reason = chosen.mode === 'incremental' ? whyBaseIsUseless(error) : undefined
    if (!reason) throw error
    return announce(await chooseFullBecause(snapshotDisk, reason, signal))
  }
}

/** The base was there and whole when the Hub planned, and is not any more, or never was whole. */
function whyBaseIsUseless(error: unknown): BaseTrouble | undefined {
  return BASE_TROUBLES.find(code => AppError.is(error, code))
}

function isSessionLimit(error: unknown): boolean {
  return AppError.is(error, 'vddk-session-limit')
}

/** One try to read a disk. The reader is gone when this has ended, however it has ended. */
async function read(
  { disk, plan }: ChosenDisk,
  share: { connections: number; disksAtOnce: number },
  context: ReadDisksContext,
  signal: AbortSignal,
): Promise<void> {
  const { order, server, vmMoRef, snapshotMoRef, dataPlane, progress } = context
  const source: DiskSource = { server, vmMoRef, snapshotMoRef, file: disk.backing }
  await using reader = await context.readers.open(source, { jobId: order.jobId, signal })
  try {
    const report = await context.captureDisk(
      {
        source: { socketPath: reader.socketPath },
        areas: plan.areas,
        diskKey: String(disk.key),
        chunkBytes: dataPlane.chunkBytes,
        target: {
          host: dataPlane.host ?? context.hubHost,
          port: dataPlane.port,
          certificateSha256: context.hubCertificateSha256,
          captureId: dataPlane.captureId,
          ticket: dataPlane.ticket,
        },
        limits: limitsOf(order, share, dataPlane.chunkBytes),
      },
      { signal, onProgress: counters => progress.update(disk.key, counters) },
    )
    progress.update(disk.key, report, true)
  } catch (error) {
    throw isSourceTrouble(error) ? await reader.explain(error) : engineProblem(error)
  }
}

/** The memory of the order is for the capture; the engine needs at least 16 chunks for each disk. */
function limitsOf(
  { limits }: CaptureOrder,
  { connections, disksAtOnce }: { connections: number; disksAtOnce: number },
  chunkBytes: number,
) {
  const shareBytes = Math.floor(limits.memoryBytesMax / disksAtOnce)
  return {
    connections,
    memoryBytesMax: Math.max(shareBytes, 16 * chunkBytes),
    compressionLevel: limits.compressionLevel,
  }
}

function isSourceTrouble(error: unknown): boolean {
  return (
    error instanceof EngineError && (error.code === 'disk-open-failed' || error.code === 'disk-read-failed')
  )
}
