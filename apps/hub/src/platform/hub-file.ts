import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { writeFileAtomic } from '@sendense/platform'

/** Where a running Hub is found, for tools on the same machine. */
export interface HubFile {
  readonly url: string
  readonly dataPlanePort: number
  /** SHA-256 of the certificate, to pin. */
  readonly certificateSha256: string
  readonly pid: number
}

/** Writes `hub.json` into the data directory. */
export async function writeHubFile(dataDir: string, file: HubFile): Promise<void> {
  await writeFileAtomic(pathOf(dataDir), `${JSON.stringify(file, null, 2)}\n`, { mode: 0o600 })
}

export async function removeHubFile(dataDir: string): Promise<void> {
  await rm(pathOf(dataDir), { force: true })
}

function pathOf(dataDir: string): string {
  return join(dataDir, 'hub.json')
}
