import {
  BackupId,
  type CaptureOrder,
  type JobId,
  NO_BYTES,
  NodeId,
  StartBackupRequest,
} from '@sendense/contracts'
import { AppError, type Clock, type Logger } from '@sendense/platform'
import { z } from 'zod'
import type { InventoryService, Vm } from '../inventory/index.ts'
import type { VcentersService } from '../vcenters/index.ts'
import type { BackupsPorts } from './backups.ports.ts'
import type { Backup, BackupsStore } from './backups.store.ts'
import type { ActiveCapture, CaptureOutcome, CaptureRegistry } from './capture-registry.ts'

/** How long a cancelled capture may take to clean up before the Hub stops waiting; the Node sweeps on. */
const CLEAN_UP_MS = 120_000

/** What a backup job is started with. */
export const BackupInput = StartBackupRequest.extend({
  backupId: BackupId,
  nodeId: NodeId,
  chunkBytes: z.int(),
})
export type BackupInput = z.output<typeof BackupInput>

/** What the work of a backup needs. */
export interface RunBackupOptions {
  store: BackupsStore
  captures: CaptureRegistry
  inventory: Pick<InventoryService, 'find'>
  vcenters: Pick<VcentersService, 'find' | 'accessOf'>
  ports: BackupsPorts
  clock: Clock
  log: Logger
}

/** The job that it is done in. */
interface Run {
  jobId: JobId
  signal: AbortSignal
}

/**
 * One backup: registers the capture, orders it from the Node, and waits until the Node says how it ended.
 * Everything in between comes in through the tunnel, see `capture-handlers.ts`.
 */
export async function runBackup(
  input: BackupInput,
  run: Run,
  options: RunBackupOptions,
): Promise<Record<string, unknown>> {
  const { store, captures, clock } = options
  const vm = await options.inventory.find(input.vmId)
  const backup = newBackup(input, { jobId: run.jobId, vmName: vm.name, startedAt: clock.now() })
  await store.add(backup)
  try {
    const capture = await register(input, backup, vm, options)
    const outcome = await order(capture, input, run, options)
    return await settle(capture, outcome)
  } catch (error) {
    // The reason of the signal, a cancel or a stop, is why everything else failed.
    const failure = AppError.from(run.signal.aborted ? run.signal.reason : error).toFailure()
    const status = failure.code === 'job-cancelled' ? 'cancelled' : 'failed'
    await store.end(backup.id, status, failure, clock.now())
    throw error
  } finally {
    await captures.find(run.jobId)?.session?.abort()
    captures.remove(run.jobId)
    options.ports.repositories.measureSoon(input.repositoryId)
  }
}

/** The record of a backup that has been asked for. */
export function newBackup(
  input: BackupInput,
  { jobId, vmName, startedAt }: { jobId: JobId; vmName: string; startedAt: Date },
): Backup {
  return {
    id: input.backupId,
    jobId,
    vmId: input.vmId,
    vmName,
    repositoryId: input.repositoryId,
    nodeId: input.nodeId,
    status: 'running',
    restorePointId: null,
    baseBackupId: null,
    chunkBytes: input.chunkBytes,
    mode: null,
    capturedAt: null,
    isQuiesced: false,
    startedAt,
    finishedAt: null,
    disks: [],
    skippedDisks: [],
    reasons: [],
    bytes: NO_BYTES,
    failure: null,
    verifiedAt: null,
    damagedAt: null,
    copyOf: null,
    tags: input.tags,
  }
}

async function register(
  input: BackupInput,
  backup: Backup,
  vm: Vm,
  options: RunBackupOptions,
): Promise<ActiveCapture> {
  const { repository } = await options.ports.repositories.openToWrite(input.repositoryId)
  const capture: ActiveCapture = {
    backup,
    vm,
    nodeId: input.nodeId,
    requestedMode: input.mode,
    bytesPerSecondMax: input.bytesPerSecondMax,
    repository,
    base: undefined,
    session: undefined,
    facts: undefined,
    disks: new Map(),
    committing: undefined,
    outcome: Promise.withResolvers<CaptureOutcome>(),
  }
  options.captures.add(capture)
  return capture
}

async function order(
  capture: ActiveCapture,
  input: BackupInput,
  { jobId, signal }: Run,
  options: RunBackupOptions,
): Promise<CaptureOutcome> {
  const { vm, nodeId } = capture
  const vcenter = await options.vcenters.find(vm.vcenterId)
  const order: Omit<CaptureOrder, 'limits'> & { limits: object } = {
    jobId,
    vcenter: options.vcenters.accessOf(vcenter),
    vcenterInstanceUuid: vcenter.instanceUuid,
    vm: { instanceUuid: vm.instanceUuid, moRef: vm.moRef, name: vm.name },
    quiesce: input.quiesce,
    limits: {},
  }
  signal.throwIfAborted()
  await options.ports.tunnels.call(nodeId).startCapture(order)
  const cancel = () => cancelAtNode(capture, jobId, options)
  signal.addEventListener('abort', cancel, { once: true })
  try {
    // It may have been aborted while the capture was being ordered.
    if (signal.aborted) cancel()
    return await capture.outcome.promise
  } finally {
    signal.removeEventListener('abort', cancel)
  }
}

/** Asks the Node to stop and clean up. When it cannot be asked, the Hub ends the capture by itself. */
function cancelAtNode(capture: ActiveCapture, jobId: JobId, { ports, clock, log }: RunBackupOptions): void {
  const giveUp = (detail: string) =>
    capture.outcome.resolve({ state: 'cancelled', failure: null, leftovers: [detail] })
  const ask = async () => {
    await ports.tunnels.call(capture.nodeId).cancelCapture({ jobId })
    await clock.sleep(CLEAN_UP_MS)
    giveUp('The Node did not say in time that it has cleaned up.')
  }
  ask().catch(error => {
    log.warn('The Node could not be asked to cancel', { jobId, error })
    giveUp('The Node could not be asked to clean up; it does so when it comes back.')
  })
}

async function settle({ committing }: ActiveCapture, outcome: CaptureOutcome) {
  // A commit that has begun decides, even when the Node went away meanwhile; its failure is told by the outcome.
  const committed = await committing?.catch(() => undefined)
  if (committed) {
    // The restore point is there and whole, whatever happened to the clean-up after it.
    return { ...committed, leftovers: outcome.leftovers }
  }
  if (outcome.state === 'cancelled') throw new AppError('job-cancelled')
  const failure = outcome.failure ?? {
    code: 'capture-incomplete' as const,
    detail: 'The Node ended the capture without a restore point.',
  }
  throw new AppError(failure.code, { detail: failure.detail })
}
