import type { NodeId, Page, PageQuery, VcenterId } from '@sendense/contracts'

/** A vCenter as the Hub keeps it. */
export interface Vcenter {
  id: VcenterId
  name: string
  nodeId: NodeId
  host: string
  port: number
  username: string
  thumbprint: string
  /** Only the Node can open it. */
  sealedCredentials: string
  instanceUuid: string
  version: string
  createdAt: Date
}

export interface VcentersStore {
  /** Fails with `conflict` when the name is taken. */
  add(vcenter: Vcenter): Promise<void>
  get(id: VcenterId): Promise<Vcenter | undefined>
  /** By name. */
  list(query: PageQuery): Promise<Page<Vcenter>>
  /** Fails with `vcenter-in-use` when VMs refer to it. False when there is no such vCenter. */
  remove(id: VcenterId): Promise<boolean>
}
