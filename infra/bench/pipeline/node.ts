/** The Node's half of the benchmark's data path. Its order comes over the channel to its parent. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type CaptureDiskReport, captureDisk } from '@sendense/engine'

export interface NodeOrder {
  socketPath: string
  /** Lines of `offset length`: allocated areas, or changed ones. */
  extentsFile: string
  isIncremental: boolean
  port: number
  certificateSha256: string
  captureId: string
  ticket: string
  chunkBytes: number
  diskKey: string
}

export type NodeReport = CaptureDiskReport & { nodePeakBytes: number }

const [order] = (await once(process, 'message')) as [NodeOrder]
const report = await captureDisk({
  source: { socketPath: order.socketPath },
  areas: { kind: order.isIncremental ? 'changed' : 'allocated', extents: readExtents(order.extentsFile) },
  diskKey: order.diskKey,
  chunkBytes: order.chunkBytes,
  target: {
    host: '127.0.0.1',
    port: order.port,
    certificateSha256: order.certificateSha256,
    captureId: order.captureId,
    ticket: order.ticket,
  },
  // What the Hub orders from a Node.
  limits: { connections: 4, memoryBytesMax: 48 * 1024 * 1024, compressionLevel: 1 },
})
process.send?.({ ...report, nodePeakBytes: process.resourceUsage().maxRSS * 1024 } satisfies NodeReport, () =>
  process.disconnect(),
)

function readExtents(path: string): { offset: number; length: number }[] {
  const lines = readFileSync(path, 'utf8')
    .split('\n')
    .filter(line => line !== '')
  return lines.map(line => {
    const [offset = Number.NaN, length = Number.NaN] = line.split(' ').map(Number)
    return { offset, length }
  })
}
