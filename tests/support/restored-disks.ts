import { rm } from 'node:fs/promises'
import type { Backup } from '@sendense/contracts'
import { hashFile } from './hash-file.ts'
import type { Stage } from './stage.ts'

/** SHA-256 of disks by their device key. */
export type DiskHashes = ReadonlyMap<number, string>

/** The disks of a restore point as they come back; the restored files are removed again. */
export async function restoredHashes(stage: Stage, backup: Backup): Promise<DiskHashes> {
  const hashes = new Map<number, string>()
  for (const { key } of backup.disks) hashes.set(key, await restoredHash(stage, backup, key))
  return hashes
}

/** One disk of a restore point as it comes back. */
export async function restoredHash(stage: Stage, backup: Backup, diskKey: number): Promise<string> {
  const { jobId } = await stage.admin.backups.restoreDisk({
    params: { backupId: backup.id },
    body: { diskKey, overwrite: true },
  })
  const { state, result, failure } = await stage.finished(jobId)
  if (state !== 'succeeded') throw new Error(`The restore is ${state}: ${JSON.stringify(failure)}`)
  const path = String(result?.path)
  const hash = await hashFile(path)
  await rm(path)
  return hash
}

/** Disks as the guest has them now. */
export async function guestHashes(
  { lab }: Pick<Stage, 'lab'>,
  vm: { readonly moRef: string },
  keys: Iterable<number>,
): Promise<DiskHashes> {
  const hashes = new Map<number, string>()
  for (const key of keys) hashes.set(key, await lab.control.hashDisk({ vm: vm.moRef, key }))
  return hashes
}
