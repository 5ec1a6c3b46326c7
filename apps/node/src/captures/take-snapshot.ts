import { type CaptureOrder, type Reason, reasonOf } from '@sendense/contracts'
import { AppError } from '@sendense/platform'
import { VsphereError, type VsphereSession, type VsphereVm } from '@sendense/vsphere'
import type { Ledger, LedgerRecord } from '../ledger/ledger.ts'
import type { SnapshotEntry } from '../ledger/ledger-entry.ts'
import { vcenterProblem } from '../vcenter/vcenter-problem.ts'
import { type BusyPatience, whileBusy } from './while-busy.ts'

/** The snapshot that all disks of a capture are read from. */
export interface TakenSnapshot {
  readonly moRef: string
  readonly capturedAt: Date
  readonly isQuiesced: boolean
  readonly reasons: readonly Reason[]
}

export interface TakeSnapshotDeps {
  readonly session: VsphereSession
  readonly ledger: Ledger
  readonly patience: BusyPatience
  /** Called as soon as a snapshot may exist, with the entry that has to be cleaned up from then on. */
  readonly onRecorded: (record: LedgerRecord<SnapshotEntry>) => void
}

/**
 * Takes the snapshot. The ledger knows its name before vSphere does, so it is found whatever dies: this process,
 * the connection, or the answer.
 */
export async function takeSnapshot(
  order: CaptureOrder,
  vm: VsphereVm,
  deps: TakeSnapshotDeps,
  signal: AbortSignal,
): Promise<TakenSnapshot> {
  const name = snapshotName(order)
  const record = await deps.ledger.record<SnapshotEntry>({
    kind: 'snapshot',
    jobId: order.jobId,
    vcenter: order.vcenter,
    vm: { instanceUuid: vm.instanceUuid, moRef: vm.moRef, name: vm.name },
    snapshotName: name,
    isAnswered: false,
    absentAt: null,
  })
  deps.onRecorded(record)
  const created = await create(order, vm, deps, signal).catch(async error => {
    if (isAnswer(error)) await record.update({ ...record.entry, isAnswered: true })
    throw snapshotProblem(error)
  })
  await record.update({ ...record.entry, isAnswered: true })
  return describe(created, vm, order, { session: deps.session, signal })
}

/** The name by which our snapshot is told from all others. */
export function snapshotName({ jobId }: Pick<CaptureOrder, 'jobId'>): string {
  return `sendense-${jobId}`
}

interface CreatedSnapshot {
  readonly moRef: string
  readonly reasons: readonly Reason[]
}

async function create(
  order: CaptureOrder,
  vm: VsphereVm,
  { session, patience }: TakeSnapshotDeps,
  signal: AbortSignal,
): Promise<CreatedSnapshot> {
  const attempt = (quiesce: boolean) =>
    whileBusy(patience, signal, () =>
      session.createSnapshot(
        vm.moRef,
        { name: snapshotName(order), description: DESCRIPTION, quiesce },
        { signal },
      ),
    )
  if (!order.quiesce) return { moRef: await attempt(false), reasons: [] }
  try {
    return { moRef: await attempt(true), reasons: [] }
  } catch (error) {
    if (!isQuiesceFailure(error)) throw error
    return { moRef: await attempt(false), reasons: [reasonOf('quiesce-failed', error.message)] }
  }
}

/** What vSphere itself says about the snapshot counts, not what it was asked for. */
async function describe(
  { moRef, reasons }: CreatedSnapshot,
  vm: VsphereVm,
  order: CaptureOrder,
  { session, signal }: { session: VsphereSession; signal: AbortSignal },
): Promise<TakenSnapshot> {
  const snapshot = (await session.listSnapshots(vm.moRef, { signal })).find(one => one.moRef === moRef)
  if (!snapshot) {
    throw new AppError('snapshot-failed', { detail: 'The snapshot was removed right after it was taken' })
  }
  const { createdAt, isQuiesced } = snapshot
  const isSilentlyUnquiesced = order.quiesce && !isQuiesced && reasons.length === 0 && vm.powerState === 'on'
  const silent = isSilentlyUnquiesced
    ? [reasonOf('quiesce-failed', 'vSphere took the snapshot without quiescing the guest')]
    : []
  return { moRef, capturedAt: createdAt, isQuiesced, reasons: [...reasons, ...silent] }
}

/** Anything about the VM or its guest. Rights, connections and other tasks are no matter of quiescing. */
function isQuiesceFailure(error: unknown): error is VsphereError {
  return error instanceof VsphereError && (error.kind === 'invalid' || error.kind === 'other')
}

/** Whether vSphere has said no. Otherwise nobody knows what became of the order. */
function isAnswer(error: unknown): boolean {
  return error instanceof VsphereError && error.kind !== 'unreachable'
}

function snapshotProblem(error: unknown): unknown {
  if (!(error instanceof VsphereError) || !OWN_CODE.includes(error.kind)) return vcenterProblem(error)
  return new AppError('snapshot-failed', { detail: error.message, cause: error })
}

/** Kinds of faults that are about the snapshot rather than about the way to it. */
const OWN_CODE: readonly VsphereError['kind'][] = ['file', 'invalid', 'other']

const DESCRIPTION = 'Made by Sendense for a backup. It is removed when the backup has ended.'
