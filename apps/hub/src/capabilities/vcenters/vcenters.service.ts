import {
  type NodeId,
  type NodeMethods,
  type Page,
  type PageQuery,
  type TunnelCaller,
  type VcenterAccess,
  VcenterCredentials,
  type VcenterId,
  VcenterId as VcenterIdSchema,
  type Vcenter as VcenterView,
} from '@sendense/contracts'
import { AppError, type Clock, type Logger, newId, type Principal, sealTo } from '@sendense/platform'
import type { Vcenter, VcentersStore } from './vcenters.store.ts'

/** Binds a sealed box to its use. The Node opens boxes of this context only. */
const SEALING_CONTEXT = 'sendense vcenter credentials v1'

interface Options {
  store: VcentersStore
  clock: Clock
  log: Logger
  nodes: { sealingKeyOf(nodeId: NodeId): Promise<string> }
  tunnels: { call(nodeId: NodeId): TunnelCaller<NodeMethods> }
}

interface CreateVcenter {
  name: string
  nodeId: NodeId
  host: string
  port: number
  username: string
  password: string
  thumbprint?: string | undefined
}

/** vCenters and how the Nodes reach them. */
export class VcentersService {
  readonly #options: Options

  constructor(options: Options) {
    this.#options = options
  }

  async create(principal: Principal, request: CreateVcenter): Promise<VcenterView> {
    const { store, clock, log, nodes, tunnels } = this.#options
    const { name, nodeId, host, port, username, password } = request
    const credentials = VcenterCredentials.parse({ username, password })
    const sealedCredentials = await sealTo(
      await nodes.sealingKeyOf(nodeId),
      JSON.stringify(credentials),
      SEALING_CONTEXT,
    )
    const access: VcenterAccess = {
      host,
      port,
      sealedCredentials,
      ...(request.thumbprint !== undefined && { thumbprint: request.thumbprint }),
    }
    const identity = await tunnels.call(nodeId).testVcenter({ vcenter: access })
    const vcenter: Vcenter = {
      id: VcenterIdSchema.parse(newId()),
      name,
      nodeId,
      host,
      port,
      username,
      sealedCredentials,
      ...identity,
      createdAt: clock.now(),
    }
    await store.add(vcenter)
    log.info('A vCenter was added', { vcenterId: vcenter.id, host, by: principal.name })
    return view(vcenter)
  }

  async get(id: VcenterId): Promise<VcenterView> {
    return view(await this.find(id))
  }

  async list(query: PageQuery): Promise<Page<VcenterView>> {
    const page = await this.#options.store.list(query)
    return { ...page, items: page.items.map(view) }
  }

  async remove(principal: Principal, id: VcenterId): Promise<void> {
    if (!(await this.#options.store.remove(id))) throw noVcenter(id)
    this.#options.log.info('A vCenter was removed', { vcenterId: id, by: principal.name })
  }

  /** The record itself, for other capabilities. Fails with `not-found`. */
  async find(id: VcenterId): Promise<Vcenter> {
    const vcenter = await this.#options.store.get(id)
    if (!vcenter) throw noVcenter(id)
    return vcenter
  }

  /** What the Node needs to log in. */
  accessOf({ host, port, thumbprint, sealedCredentials }: Vcenter): VcenterAccess {
    return { host, port, thumbprint, sealedCredentials }
  }
}

function noVcenter(id: VcenterId): AppError {
  return new AppError('not-found', { detail: `There is no vCenter ${id}.` })
}

function view({ sealedCredentials: _sealed, ...vcenter }: Vcenter): VcenterView {
  return { ...vcenter, createdAt: vcenter.createdAt.toISOString() }
}
