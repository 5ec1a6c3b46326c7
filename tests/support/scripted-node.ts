import { randomUUID } from 'node:crypto'
import type { Client } from '@sendense/client'
import type {
  CaptureOrder,
  DataPlaneAccess,
  DiscoveredVm,
  HubMethods,
  NodeMethods,
  TunnelCaller,
  TunnelHandlers,
  Vm,
  VmManifest,
} from '@sendense/contracts'
import {
  generateSealingKeys,
  generateSigningKeys,
  keyFingerprint,
  pinnedAgent,
  systemClock,
} from '@sendense/platform'
import { memoryLog } from '@sendense/platform/testing'
import { AccessTokens } from '../../apps/node/src/enrollment/access-tokens.ts'
import { hubApiAt } from '../../apps/node/src/enrollment/hub-api.ts'
import { pairWithHub } from '../../apps/node/src/enrollment/pair-with-hub.ts'
import { HubLink } from '../../apps/node/src/hub-link/hub-link.ts'
import { waitFor } from './child.ts'
import type { HubProcess } from './hub-process.ts'

const DISK_KEY = 2000

/**
 * A Node that is paired and approved like any other, and then does what a test says: the way in which a Node that
 * was taken over could treat its Hub. Its vCenter has one VM with one disk.
 */
export class ScriptedNode implements AsyncDisposable {
  readonly id: string
  readonly diskKey = DISK_KEY
  /** The Hub's methods as the Node sees them. */
  readonly hub: TunnelCaller<HubMethods>
  readonly #link: HubLink
  readonly #orders: CaptureOrder[]
  readonly #sizeBytes: number

  private constructor(parts: {
    id: string
    hub: TunnelCaller<HubMethods>
    link: HubLink
    orders: CaptureOrder[]
    sizeBytes: number
  }) {
    this.id = parts.id
    this.hub = parts.hub
    this.#link = parts.link
    this.#orders = parts.orders
    this.#sizeBytes = parts.sizeBytes
  }

  /** Pairs, is approved, and connects. */
  static async start(hub: HubProcess, admin: Client, sizeBytes: number): Promise<ScriptedNode> {
    const { pairingCode } = await admin.enrollment.createPairingCode({ body: {} })
    const signing = generateSigningKeys()
    const identity = {
      signing,
      sealing: generateSealingKeys(),
      fingerprint: keyFingerprint(signing.publicKey),
    }
    const pairing = await pairWithHub({ hubUrl: hub.url, pairingCode, name: 'scripted', identity })
    await admin.enrollment.approveNode({ params: { nodeId: pairing.nodeId } })
    const agent = pinnedAgent({ caPem: pairing.certificatePem })
    const clock = systemClock
    const tokens = new AccessTokens({ hub: hubApiAt(hub.url, agent), pairing, identity, clock })
    const log = memoryLog()
    const link = new HubLink({ hubUrl: hub.url, agent, tokens, status: 'approved', clock, log })
    const orders: CaptureOrder[] = []
    link.start({
      handlers: handlersOf(orders, sizeBytes),
      captureStates: () => [],
      onStatus: () => {},
      onExpelled: () => {},
    })
    const methods = await link.untilUp(AbortSignal.timeout(10_000))
    return new ScriptedNode({ id: pairing.nodeId, hub: methods, link, orders, sizeBytes })
  }

  /** The order that the Hub has given, waited for. */
  nextOrder(): Promise<CaptureOrder> {
    return waitFor('the Hub to order a capture', () => this.#orders.shift())
  }

  /** Plays a capture up to the point where the Hub waits for chunks of a full read. */
  async openDisk(order: CaptureOrder): Promise<DataPlaneAccess> {
    const { jobId } = order
    const { dataPlane } = await this.hub.planCapture({
      ...{ jobId, capturedAt: new Date().toISOString(), isQuiesced: false, reasons: [] },
      manifest: manifestOf(this.#sizeBytes),
      disks: [{ diskKey: DISK_KEY, changeId: null }],
    })
    const disk = { diskKey: DISK_KEY, sizeBytes: this.#sizeBytes, mode: 'full' as const, reasons: [] }
    await this.hub.beginDisk({ jobId, ...disk })
    return dataPlane
  }

  /** Adds the vCenter and the VM that this Node claims to see. */
  async addVm(admin: Client): Promise<Vm> {
    const nodeId = this.id as Parameters<Client['enrollment']['getNode']>[0]['params']['nodeId']
    const body = { name: 'scripted', nodeId, host: 'vcenter.invalid', username: 'u', password: 'p' }
    const { id: vcenterId } = await admin.vcenters.createVcenter({ body })
    const instanceUuids = [INSTANCE_UUID]
    const { added } = await admin.inventory.addVms({ body: { vcenterId, instanceUuids } })
    const [vm] = added
    if (!vm) throw new Error('The VM of the scripted Node was not added')
    return vm
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#link.stop()
  }
}

const INSTANCE_UUID = randomUUID()
const VCENTER_UUID = randomUUID()

function handlersOf(orders: CaptureOrder[], sizeBytes: number): TunnelHandlers<NodeMethods> {
  return {
    testVcenter: async () => ({
      ...{ instanceUuid: VCENTER_UUID, version: '8.0.3', thumbprint: 'ab'.repeat(32) },
    }),
    discoverVms: async () => ({ vms: [discoveredVm(sizeBytes)] }),
    startCapture: async order => {
      orders.push(order)
      return {}
    },
    cancelCapture: async () => ({}),
    getCapture: async ({ jobId }) => ({ jobId, state: 'running', step: null, failure: null }),
  }
}

function discoveredVm(sizeBytes: number): DiscoveredVm {
  const { disks, nics, ...manifest } = manifestOf(sizeBytes)
  return {
    ...{ instanceUuid: manifest.instanceUuid, moRef: manifest.moRef, name: manifest.name },
    ...{ folderPath: '/', datacenter: 'dc', host: null, powerState: 'on', guestOs: '', firmware: 'efi' },
    ...{ cpuCount: 1, memoryMb: 512, isTemplate: false, isChangeTracked: true, hasSnapshots: false },
    disks: disks.map(
      ({ controllerKey: _k, controllerType: _t, busNumber: _b, unitNumber: _u, ...disk }) => disk,
    ),
    nics,
  }
}

function manifestOf(sizeBytes: number): VmManifest {
  return {
    ...{ vcenterInstanceUuid: VCENTER_UUID, instanceUuid: INSTANCE_UUID, biosUuid: randomUUID() },
    ...{ moRef: 'vm-1', name: 'made up', folderPath: '/', datacenter: 'dc', guestId: '', guestOs: '' },
    ...{ firmware: 'efi', hardwareVersion: 'vmx-19', cpuCount: 1, memoryMb: 512, nics: [] },
    disks: [
      {
        ...{ key: DISK_KEY, label: 'Hard disk 1', backing: '[ds] vm/vm.vmdk', uuid: null, datastore: 'ds' },
        ...{ capacityBytes: sizeBytes, mode: 'persistent', excluded: null },
        ...{ controllerKey: 1000, controllerType: 'pvscsi', busNumber: 0, unitNumber: 0 },
      },
    ],
  }
}
