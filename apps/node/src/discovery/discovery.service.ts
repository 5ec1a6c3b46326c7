import type { DiscoveredVm, VcenterAccess, VcenterCredentials, VcenterIdentity } from '@sendense/contracts'
import { AppError, type Logger } from '@sendense/platform'
import type { VsphereSession, VsphereVm } from '@sendense/vsphere'
import type { z } from 'zod'
import { plainHex, type VcenterAddress, type VcenterConnector } from '../vcenter/vcenter-connector.ts'
import { callVcenter } from '../vcenter/vcenter-problem.ts'
import { toDiscoveredVm } from './discovered-vm.ts'

/** Which VMs are wanted; all when empty. */
export interface VmFilter {
  readonly nameContains?: string | undefined
  readonly instanceUuids?: readonly string[] | undefined
}

/** Looks into vCenters. Keeps nothing. */
export class DiscoveryService {
  readonly #vcenters: VcenterConnector
  readonly #log: Logger

  constructor({ vcenters, log }: { vcenters: VcenterConnector; log: Logger }) {
    this.#vcenters = vcenters
    this.#log = log
  }

  /** Logs in and out again: proves address, certificate and credentials. */
  async testVcenter(access: VcenterAccess): Promise<z.output<typeof VcenterIdentity>> {
    await using session = await this.#vcenters.connect(access)
    const { instanceUuid, version } = session.about
    if (instanceUuid === undefined) {
      const detail = `${access.host} is a single ESXi host. Add the vCenter that manages it: a host alone has no lasting identity`
      throw new AppError('vcenter-error', { detail })
    }
    const { sha256 } = await this.#vcenters.fetchThumbprint(access.host, access.port)
    return { instanceUuid, version, thumbprint: plainHex(sha256) }
  }

  /** The VMs of a vCenter, by name. */
  async discoverVms(access: VcenterAccess, filter: VmFilter): Promise<DiscoveredVm[]> {
    await using session = await this.#vcenters.connect(access)
    return await this.#listVms(session, filter)
  }

  /** The same with credentials that an operator gives here. */
  async discoverVmsWith(
    address: VcenterAddress,
    credentials: VcenterCredentials,
    filter: VmFilter,
  ): Promise<DiscoveredVm[]> {
    await using session = await this.#vcenters.connectWith(address, credentials)
    return await this.#listVms(session, filter)
  }

  async #listVms(session: VsphereSession, filter: VmFilter): Promise<DiscoveredVm[]> {
    const found: VsphereVm[] = []
    await callVcenter(async () => {
      const onUnreadable = (vm: object) => this.#log.warn('A VM cannot be read and is left out', { vm })
      for await (const vm of session.listVms({ onUnreadable })) if (isWanted(vm, filter)) found.push(vm)
    })
    return found.map(toDiscoveredVm).sort((a, b) => a.name.localeCompare(b.name))
  }
}

function isWanted(vm: VsphereVm, { nameContains, instanceUuids }: VmFilter): boolean {
  const nameFits = nameContains === undefined || vm.name.toLowerCase().includes(nameContains.toLowerCase())
  return nameFits && (instanceUuids === undefined || instanceUuids.includes(vm.instanceUuid))
}
