import type { Clock } from '@sendense/platform'
import type { VsphereSession } from '@sendense/vsphere'
import type { LedgerRecord } from './ledger.ts'
import type { SnapshotEntry } from './ledger-entry.ts'

/** `watched`: nothing is there, but it may still appear, so the entry stays open and is looked at again. */
export type RemovalResult = 'gone' | 'watched'

/**
 * For how long after a look that found nothing an order that vSphere never answered may still lead to a snapshot.
 * The order itself travels for seconds; a task that it became is seen and waited for.
 */
export const SETTLE_MS = 60_000

/**
 * Removes whatever bears the name of this entry, and closes the entry when nothing can come any more. Snapshots of
 * others are not touched: the name is unique to our capture. Throws when vSphere does not let us look or remove.
 */
export async function removeRecordedSnapshots(
  session: VsphereSession,
  record: LedgerRecord<SnapshotEntry>,
  clock: Clock,
): Promise<RemovalResult> {
  const { vm, snapshotName, isAnswered, absentAt } = record.entry
  const moRef = (await session.findVm({ instanceUuid: vm.instanceUuid }))?.moRef
  if (moRef !== undefined) {
    await waitForRunningCreations(session, moRef)
    const ours = (await session.listSnapshots(moRef)).filter(snapshot => snapshot.name === snapshotName)
    for (const snapshot of ours) await session.removeSnapshot(snapshot.moRef, { consolidate: true })
    if (ours.length > 0) return close(record)
  }
  const now = clock.now()
  const absentForMs = absentAt === null ? 0 : now.getTime() - Date.parse(absentAt)
  if (isAnswered || absentForMs >= SETTLE_MS) return close(record)
  if (absentAt === null) await record.update({ ...record.entry, absentAt: now.toISOString() })
  record.abandon()
  return 'watched'
}

async function close(record: LedgerRecord<SnapshotEntry>): Promise<'gone'> {
  await record.close()
  return 'gone'
}

/** A snapshot that is being made has no name to be found by yet. How its task ends does not matter here. */
async function waitForRunningCreations(session: VsphereSession, vm: string): Promise<void> {
  for (const task of await session.findRunningTasks(vm, 'CreateSnapshot')) {
    await session.waitForTask(task.moRef).catch(() => undefined)
  }
}

/** The snapshot in words, for people who may have to look for it. */
export function describeSnapshot({ snapshotName, vm, vcenter, isAnswered }: SnapshotEntry): string {
  const doubt = isAnswered ? '' : ', which may or may not exist'
  return `snapshot ${snapshotName} of the VM "${vm.name}" (${vm.moRef}) at ${vcenter.host}${doubt}`
}
