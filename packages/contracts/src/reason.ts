import { z } from 'zod'

/**
 * Why something was done in another way than the best one. No fallback happens without one of these:
 * they stand on the disk or the backup that they concern, in the API, the CLI and the restore point itself.
 */
export const REASONS = {
  'first-backup': {
    title: 'This repository holds no restore point of this disk yet',
    fix: 'None needed: the next backup is incremental.',
  },
  'requested-full': {
    title: 'A full read was asked for',
    fix: 'Ask for mode "auto" to read changed areas only.',
  },
  'change-tracking-enabled-now': {
    title: 'Changed block tracking was off and has been enabled by this backup',
    fix: 'None needed: the next backup is incremental.',
  },
  'change-tracking-unsupported': {
    title: 'The VM does not support changed block tracking',
    fix: 'Upgrade the virtual hardware to version 7 or later, and remove foreign snapshots before enabling it.',
  },
  'change-id-missing': {
    title: 'The earlier restore point recorded no change id for this disk',
    fix: 'None needed: this restore point records one.',
  },
  'change-id-refused': {
    title: 'vSphere refused the change id: tracking was reset, or the id is foreign or expired',
    fix: 'None needed once. If it recurs, look for other tools that reset changed block tracking of this VM.',
  },
  'disk-added': {
    title: 'The earlier restore point does not hold this disk',
    fix: 'None needed: the next backup is incremental.',
  },
  'disk-resized': {
    title: 'The size of the disk has changed',
    fix: 'None needed: the next backup is incremental.',
  },
  'disk-replaced': {
    title: 'Another virtual disk is attached under the same device key',
    fix: 'None needed: the next backup is incremental.',
  },
  'restore-point-missing': {
    title: 'The earlier restore point is no longer in the repository',
    fix: 'None needed. Find out who removed it if nobody meant to.',
  },
  'restore-point-damaged': {
    title: 'The earlier restore point cannot be read completely, so the whole disk was read',
    fix: 'Repair the repository, then verify all of it: `sendense repository repair <repository>`, `sendense repository verify <repository> --scope all`. What was found damaged is stored again by each backup that reads it.',
  },
  'restore-point-being-pruned': {
    title: 'A prune has marked for deletion what the earlier restore point needs, so the whole disk was read',
    fix: 'None needed: the next prune takes that back, and the next backup is incremental.',
  },
  'restore-point-differs': {
    title:
      'The earlier restore point holds the disk in another way than its record says, so the whole disk was read',
    fix: 'None needed once: the next backup is incremental. If it recurs, report it.',
  },
  'repository-settings-changed': {
    title:
      'The chunk size of the earlier restore point differs: the repository has another one now, or a disk has outgrown it',
    fix: 'None needed: the next backup is incremental.',
  },
  'allocation-unknown': {
    title: 'vSphere could not tell which areas are allocated, so the whole disk was read',
    fix: 'Enable changed block tracking, or make sure that no foreign snapshot exists when it is enabled.',
  },
  'quiesce-failed': {
    title: 'The guest could not be quiesced; the restore point is crash-consistent',
    fix: 'Install or repair VMware Tools in the guest, or look into its VSS writers.',
  },
  'disk-independent': {
    title: 'The disk is independent: vSphere leaves it out of snapshots, so it was not backed up',
    fix: 'Change the disk mode to dependent, or protect its content from inside the guest.',
  },
  'disk-unsupported': {
    title: 'The disk is a physical raw device mapping: it was not backed up',
    fix: 'Convert it to a virtual disk, or protect its content from inside the guest.',
  },
} as const satisfies Record<string, { title: string; fix: string }>

export type ReasonCode = keyof typeof REASONS

export const ReasonCode = z
  .enum(Object.keys(REASONS) as [ReasonCode, ...ReasonCode[]])
  .meta({ id: 'ReasonCode', description: 'Why it was done in this way' })

/** A reason as people see it. */
export const Reason = z
  .object({
    code: ReasonCode,
    title: z.string().meta({ description: 'What the code means' }),
    fix: z.string().meta({ description: 'What to do about it' }),
    detail: z.string().optional().meta({ description: 'What was seen in this case' }),
  })
  .meta({ id: 'Reason' })
export type Reason = z.output<typeof Reason>

/** The full reason for a code. */
export function reasonOf(code: ReasonCode, detail?: string): Reason {
  return { code, ...REASONS[code], ...(detail !== undefined && { detail }) }
}
