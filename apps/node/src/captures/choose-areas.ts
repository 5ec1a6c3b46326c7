import { type CaptureMode, type DiskPlan, type Reason, type ReasonCode, reasonOf } from '@sendense/contracts'
import type { DiskAreas } from '@sendense/engine'
import { type DiskArea, type VsphereDisk, VsphereError, type VsphereSession } from '@sendense/vsphere'
import type { ChangeTracking } from './prepare-vm.ts'

/** How a disk will be read, and why so. */
export interface ReadPlan {
  readonly mode: CaptureMode
  readonly areas: DiskAreas
  readonly reasons: readonly Reason[]
}

/** A disk in a snapshot, and who can tell about its areas. */
export interface SnapshotDisk {
  readonly session: VsphereSession
  readonly vmMoRef: string
  readonly snapshotMoRef: string
  readonly disk: VsphereDisk
  readonly tracking: ChangeTracking
}

/**
 * Decides what to read of a disk: what changed since the base of the Hub; if there is none or vSphere does not
 * accept it, what is allocated; and if vSphere cannot tell that either, everything. Each step down has a reason.
 */
export async function chooseAreas(
  disk: SnapshotDisk,
  plan: DiskPlan,
  signal: AbortSignal,
): Promise<ReadPlan> {
  if (plan.baseChangeId === undefined) {
    return chooseFull(disk, plan.reason ? [reasonOf(plan.reason)] : [], signal)
  }
  const obstacle = obstacleToIncremental(disk)
  if (obstacle) return chooseFull(disk, [obstacle], signal)

  const changed = await queryAreas(disk, plan.baseChangeId, signal)
  if (changed.refusal !== undefined) {
    return chooseFull(disk, [reasonOf('change-id-refused', changed.refusal)], signal)
  }
  return { mode: 'incremental', areas: { kind: 'changed', extents: changed.areas }, reasons: [] }
}

/** The plan for a disk whose base has turned out to be of no use. */
export async function chooseFullBecause(
  disk: SnapshotDisk,
  code: ReasonCode,
  signal: AbortSignal,
): Promise<ReadPlan> {
  return chooseFull(disk, [reasonOf(code)], signal)
}

/** Why a change id must not even be asked for: the book of changes has a gap, though vSphere might answer. */
function obstacleToIncremental({ disk, tracking }: SnapshotDisk): Reason | undefined {
  if (tracking === 'enabled-now') return reasonOf('change-tracking-enabled-now')
  if (tracking === 'unsupported') return reasonOf('change-tracking-unsupported')
  if (disk.changeId === undefined) return reasonOf('change-tracking-unsupported', noChangeId(disk))
  return undefined
}

function noChangeId({ label }: VsphereDisk): string {
  return `The snapshot has no change id for ${label}`
}

async function chooseFull(
  disk: SnapshotDisk,
  reasons: readonly Reason[],
  signal: AbortSignal,
): Promise<ReadPlan> {
  const allocated = await queryAllocated(disk, signal)
  if (allocated.refusal !== undefined) {
    const unknown = reasonOf('allocation-unknown', allocated.refusal)
    return { mode: 'full', areas: { kind: 'whole' }, reasons: [...reasons, unknown] }
  }
  return { mode: 'full', areas: { kind: 'allocated', extents: allocated.areas }, reasons }
}

/** Without a change id the disk is not tracked, and an answer to `*` could be wrong: it is not asked for. */
async function queryAllocated(disk: SnapshotDisk, signal: AbortSignal): Promise<QueriedAreas> {
  if (disk.disk.changeId === undefined) return { refusal: noChangeId(disk.disk) }
  return queryAreas(disk, ALL_IN_USE, signal)
}

type QueriedAreas = { areas: readonly DiskArea[]; refusal?: undefined } | { refusal: string }

async function queryAreas(
  { session, vmMoRef, snapshotMoRef, disk }: SnapshotDisk,
  changeId: string,
  signal: AbortSignal,
): Promise<QueriedAreas> {
  try {
    const areas = await session.queryChangedAreas({
      vm: vmMoRef,
      snapshot: snapshotMoRef,
      deviceKey: disk.key,
      changeId,
      capacityBytes: disk.capacityBytes,
      signal,
    })
    return { areas }
  } catch (error) {
    if (!isRefusal(error)) throw error
    return { refusal: `${error.fault}: ${error.message}` }
  }
}

/** Faults that say "not with this change id". Others, such as a lost connection, end the capture. */
function isRefusal(error: unknown): error is VsphereError {
  return error instanceof VsphereError && (error.kind === 'file' || error.kind === 'invalid')
}

/** The change id that asks for all areas in use (vSphere API, QueryChangedDiskAreas). */
const ALL_IN_USE = '*'
