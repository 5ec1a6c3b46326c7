import type { JobId } from '@sendense/contracts'
import type { Ledger } from './ledger.ts'
import { describeReader } from './remove-readers.ts'
import { describeSnapshot } from './remove-snapshots.ts'

/**
 * What is left behind on other systems or on this one, in words: of one capture, or of all. What was looked for and
 * not found is not left behind, though it is looked for once more.
 */
export function describeLeftovers(ledger: Ledger, jobId?: JobId): string[] {
  const isWanted = ({ entry }: { entry: { jobId: JobId } }) => jobId === undefined || entry.jobId === jobId
  const snapshots = ledger.abandoned('snapshot').filter(record => isWanted(record) && !record.entry.absentAt)
  const readers = ledger.abandoned('disk-reader').filter(isWanted)
  return [
    ...snapshots.map(({ entry }) => describeSnapshot(entry)),
    ...readers.map(({ entry }) => describeReader(entry)),
  ]
}
