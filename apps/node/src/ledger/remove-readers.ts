import { rm } from 'node:fs/promises'
import { readerFiles } from '../disk-reader/nbdkit-arguments.ts'
import type { LedgerRecord } from './ledger.ts'
import type { DiskReaderEntry } from './ledger-entry.ts'
import { endProcess, findProcessesByArgument } from './process-table.ts'

/**
 * Ends the nbdkit of an entry, if it still runs, and removes its directory. Ours is the one that was started with a
 * socket in our directory, whose name is random; where its number was recorded, number and start time must fit too.
 */
export async function removeRecordedReader(record: LedgerRecord<DiskReaderEntry>): Promise<void> {
  const { directory, process: recorded } = record.entry
  const candidates = await findProcessesByArgument(`--unix=${readerFiles(directory).socket}`)
  const ours = candidates.filter(
    ({ pid, startTicks }) => !recorded || (recorded.pid === pid && recorded.startTicks === startTicks),
  )
  for (const process of ours) {
    if (!(await endProcess(process))) throw new Error(`nbdkit ${process.pid} does not end`)
  }
  await rm(directory, { recursive: true, force: true })
  await record.close()
}

/** The reader in words, for people who may have to look for it. */
export function describeReader({ directory, process }: DiskReaderEntry): string {
  return `disk reader in ${directory}${process ? ` (process ${process.pid})` : ''}`
}
