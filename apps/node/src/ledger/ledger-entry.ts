import { Failure, Instant, JobId, VcenterAccess } from '@sendense/contracts'
import { z } from 'zod'

/** How a capture ended, as the Hub is told by `finishCapture`. */
export const CaptureOutcome = z.object({
  state: z.enum(['succeeded', 'failed', 'cancelled']),
  failure: Failure.nullable(),
  /** What could not be cleaned up and will be swept, in words. */
  leftovers: z.array(z.string()),
})
export type CaptureOutcome = z.output<typeof CaptureOutcome>

/** A capture that the Hub has not heard the last word of. */
const CaptureEntry = z.object({
  kind: z.literal('capture'),
  jobId: JobId,
  /** Null while it runs. An entry without an outcome after a restart is a capture that was interrupted. */
  outcome: CaptureOutcome.nullable(),
})

/** A vSphere snapshot that exists, or may exist. */
const SnapshotEntry = z.object({
  kind: z.literal('snapshot'),
  jobId: JobId,
  /** With the credentials as they came: sealed to the key of this Node. */
  vcenter: VcenterAccess,
  vm: z.object({ instanceUuid: z.string(), moRef: z.string(), name: z.string() }),
  /** Unique to the capture: whatever bears it is ours. */
  snapshotName: z.string(),
  /**
   * False until vSphere has answered. Then the snapshot may still appear after a look has not found it, because
   * the order may be on its way or waiting in the vCenter.
   */
  isAnswered: z.boolean(),
  /** When a look first found nothing of an order that was never answered. */
  absentAt: Instant.nullable(),
})

/** An nbdkit process and its private directory. */
const DiskReaderEntry = z.object({
  kind: z.literal('disk-reader'),
  jobId: JobId,
  directory: z.string(),
  /** Null until it is started; after a crash in between it is found by its directory. */
  process: z.object({ pid: z.int(), startTicks: z.string() }).nullable(),
})

/** Something that we make on a system and must not leave there. */
export const LedgerEntry = z.discriminatedUnion('kind', [CaptureEntry, SnapshotEntry, DiskReaderEntry])
export type LedgerEntry = z.output<typeof LedgerEntry>
export type CaptureEntry = z.output<typeof CaptureEntry>
export type SnapshotEntry = z.output<typeof SnapshotEntry>
export type DiskReaderEntry = z.output<typeof DiskReaderEntry>

/** A line of the journal. The last line about an id counts. */
export const JournalLine = z.discriminatedUnion('op', [
  z.object({ op: z.literal('set'), id: z.string(), entry: LedgerEntry }),
  z.object({ op: z.literal('close'), id: z.string() }),
])
export type JournalLine = z.output<typeof JournalLine>
