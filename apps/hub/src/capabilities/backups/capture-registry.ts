import {
  type BackupDisk,
  type BackupId,
  type Failure,
  type JobId,
  type NodeId,
  type Reason,
  type ReasonCode,
  reasonOf,
  type VmManifest,
} from '@sendense/contracts'
import type { CaptureSession, Repository } from '@sendense/engine'
import { AppError } from '@sendense/platform'
import type { Vm } from '../inventory/index.ts'
import type { Backup } from './backups.store.ts'
import type { Base } from './base-selection.ts'

/** How a capture ended on the side of the Node. */
export interface CaptureOutcome {
  state: 'succeeded' | 'failed' | 'cancelled'
  failure: Failure | null
  /** What could not be cleaned up yet; the Node sweeps it later. */
  leftovers: readonly string[]
}

/** The restore point that a capture has become. */
export interface Committed {
  backupId: BackupId
  restorePointId: string
}

/** What the Node said about the VM when its snapshot was taken. */
export interface CaptureFacts {
  capturedAt: Date
  isQuiesced: boolean
  reasons: Reason[]
  manifest: VmManifest
  changeIds: ReadonlyMap<number, string | null>
}

/** One capture that runs: what is decided so far, and the session that receives its bytes. */
export interface ActiveCapture {
  readonly backup: Backup
  readonly vm: Vm
  readonly nodeId: NodeId
  readonly requestedMode: 'auto' | 'full'
  /** How fast the Hub takes its bytes; no limit when undefined. */
  readonly bytesPerSecondMax: number | undefined
  readonly repository: Repository
  base: Base | undefined
  session: CaptureSession | undefined
  facts: CaptureFacts | undefined
  readonly disks: Map<number, Pick<BackupDisk, 'key' | 'file' | 'sizeBytes' | 'mode' | 'reasons'>>
  /** Set by the first `commitCapture`; all others wait for the same. */
  committing: Promise<Committed> | undefined
  readonly outcome: PromiseWithResolvers<CaptureOutcome>
}

/** The captures of this process, by job. */
export class CaptureRegistry {
  readonly #captures = new Map<JobId, ActiveCapture>()

  add(capture: ActiveCapture): void {
    this.#captures.set(capture.backup.jobId, capture)
  }

  remove(jobId: JobId): void {
    this.#captures.delete(jobId)
  }

  find(jobId: JobId): ActiveCapture | undefined {
    return this.#captures.get(jobId)
  }

  /** The capture of this job, if it is this Node's: a Node has no say in the captures of another. */
  ofNode(nodeId: NodeId, jobId: JobId): ActiveCapture {
    const capture = this.#captures.get(jobId)
    if (capture?.nodeId !== nodeId) {
      throw new AppError('capture-unknown', { detail: `No capture of job ${jobId} runs for this Node.` })
    }
    return capture
  }

  allOf(nodeId: NodeId): ActiveCapture[] {
    return [...this.#captures.values()].filter(capture => capture.nodeId === nodeId)
  }
}

/** Ends a capture from the Hub's side, when the Node can no longer say how it ended. */
export function endCapture(capture: ActiveCapture, code: Failure['code'], detail: string): void {
  capture.outcome.resolve({ state: 'failed', failure: { code, detail }, leftovers: [] })
}

/** The reasons of the Hub and of the Node for one disk, each code once. */
export function mergeReasons(planned: ReasonCode | undefined, reported: readonly Reason[]): Reason[] {
  const all = [...(planned === undefined ? [] : [reasonOf(planned)]), ...reported]
  return [...new Map(all.map(reason => [reason.code, reason])).values()]
}
