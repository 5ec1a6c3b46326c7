import { NodeId, NodeStatus } from '@sendense/contracts'
import { writeFileAtomic } from '@sendense/platform'
import { z } from 'zod'
import { readJsonFile } from '../platform/read-json-file.ts'

/** The Hub that this Node belongs to. From pairing on, no other certificate is talked to. */
export const HubPairing = z.object({
  hubUrl: z.url(),
  certificatePem: z.string(),
  /** SHA-256 of the certificate, lower-case hex. */
  certificateSha256: z.string().regex(/^[0-9a-f]{64}$/),
  nodeId: NodeId,
  /** Where the Node stood when it last heard of it. */
  status: NodeStatus,
})
export type HubPairing = z.output<typeof HubPairing>

export async function loadPairing(path: string): Promise<HubPairing | undefined> {
  return readJsonFile(path, HubPairing)
}

export async function savePairing(path: string, pairing: HubPairing): Promise<void> {
  await writeFileAtomic(path, JSON.stringify(pairing, null, 2), { mode: 0o600 })
}
