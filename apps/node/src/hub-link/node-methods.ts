import type { NodeMethods, TunnelHandlers } from '@sendense/contracts'
import type { CapturesService } from '../captures/captures.service.ts'
import type { DiscoveryService } from '../discovery/discovery.service.ts'

/** What the Hub may call on this Node. */
export function nodeMethodHandlers({
  discovery,
  captures,
}: {
  discovery: DiscoveryService
  captures: CapturesService
}): TunnelHandlers<NodeMethods> {
  return {
    testVcenter: ({ vcenter }) => discovery.testVcenter(vcenter),
    discoverVms: async ({ vcenter, ...filter }) => ({ vms: await discovery.discoverVms(vcenter, filter) }),
    startCapture: async order => {
      await captures.start(order)
      return {}
    },
    cancelCapture: async ({ jobId }) => {
      captures.cancel(jobId)
      return {}
    },
    getCapture: async ({ jobId }) => captures.state(jobId),
  }
}
