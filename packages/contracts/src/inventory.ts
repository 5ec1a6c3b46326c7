import { z } from 'zod'
import { NodeId } from './enrollment.ts'
import { Bytes, Instant, PageQuery, pageOf } from './page.ts'
import { ProblemCode } from './problem.ts'
import { Reason } from './reason.ts'
import { defineRoutes } from './route.ts'

export const VcenterId = z.uuid().brand<'VcenterId'>()
export type VcenterId = z.output<typeof VcenterId>
export const VmId = z.uuid().brand<'VmId'>()
export type VmId = z.output<typeof VmId>

/** A certificate fingerprint: SHA-256 or SHA-1 in hex, with or without colons. */
export const Thumbprint = z
  .string()
  .transform(text => text.replaceAll(':', '').toLowerCase())
  .pipe(z.string().regex(/^([0-9a-f]{64}|[0-9a-f]{40})$/, 'must be SHA-256 or SHA-1 in hex'))

export const Vcenter = z
  .object({
    id: VcenterId.meta({ description: 'Id of the vCenter here' }),
    name: z.string().meta({ description: 'Name for people' }),
    nodeId: NodeId.meta({ description: 'Node that reaches this vCenter' }),
    host: z.string().meta({ description: 'Host name or address, as the Node reaches it' }),
    port: z.int().meta({ description: 'HTTPS port' }),
    username: z.string().meta({ description: 'Account that the Node logs in with' }),
    thumbprint: z.string().meta({ description: 'Pinned SHA-256 of its certificate, hex' }),
    instanceUuid: z.string().meta({ description: 'Identity of the vCenter as it says itself' }),
    version: z.string().meta({ description: 'Version that it reports' }),
    createdAt: Instant.meta({ description: 'When it was added' }),
  })
  .meta({ id: 'Vcenter' })
export type Vcenter = z.output<typeof Vcenter>

export const CreateVcenterRequest = z
  .object({
    name: z.string().trim().min(1).max(100).meta({ description: 'Name for people' }),
    nodeId: NodeId.meta({ description: 'Node that reaches this vCenter' }),
    host: z
      .string()
      .trim()
      .min(1)
      .max(255)
      .meta({ description: 'Host name or address, as the Node reaches it' }),
    port: z.int().min(1).max(65_535).default(443).meta({ description: 'HTTPS port' }),
    username: z.string().min(1).max(200).meta({ description: 'Account to log in with' }),
    password: z
      .string()
      .min(1)
      .max(500)
      .meta({ description: 'Sealed to the key of the Node at once; the Hub cannot read it again' }),
    thumbprint: Thumbprint.optional().meta({
      description:
        'Fingerprint that the certificate must have. Without it, a certificate that no known authority signed is refused and the answer names its fingerprint',
    }),
  })
  .meta({ id: 'CreateVcenterRequest' })

export const PowerState = z.enum(['on', 'off', 'suspended']).meta({ id: 'PowerState' })
export type PowerState = z.output<typeof PowerState>

export const VmDisk = z
  .object({
    key: z.int().meta({ description: 'Device key in vSphere, the identity of the disk in its VM' }),
    label: z.string().meta({ description: 'Label in vSphere' }),
    backing: z.string().meta({ description: 'Datastore path of the disk' }),
    uuid: z.string().nullable().meta({ description: 'UUID of the backing' }),
    datastore: z.string().meta({ description: 'Name of the datastore' }),
    capacityBytes: Bytes.meta({ description: 'Provisioned size' }),
    mode: z.string().meta({ description: 'Disk mode in vSphere' }),
    excluded: Reason.nullable().meta({ description: 'Why this disk cannot be backed up; null when it can' }),
  })
  .meta({ id: 'VmDisk' })
export type VmDisk = z.output<typeof VmDisk>

export const VmNic = z
  .object({
    key: z.int().meta({ description: 'Device key in vSphere' }),
    label: z.string().meta({ description: 'Label in vSphere' }),
    type: z.string().meta({ description: 'Adapter type, such as vmxnet3' }),
    macAddress: z.string().meta({ description: 'MAC address' }),
    network: z.string().meta({ description: 'Name of the network' }),
  })
  .meta({ id: 'VmNic' })

const vmFields = {
  instanceUuid: z.string().meta({ description: 'Identity of the VM in its vCenter' }),
  moRef: z.string().meta({ description: 'Managed object reference in its vCenter' }),
  name: z.string().meta({ description: 'Name in vSphere' }),
  folderPath: z.string().meta({ description: 'Inventory path of its folder' }),
  datacenter: z.string().meta({ description: 'Name of its datacenter' }),
  host: z.string().nullable().meta({ description: 'ESXi host that it runs on' }),
  powerState: PowerState,
  guestOs: z.string().meta({ description: 'Guest operating system as vSphere names it' }),
  firmware: z.enum(['bios', 'efi']).meta({ description: 'Firmware' }),
  cpuCount: z.int().meta({ description: 'Virtual processors' }),
  memoryMb: z.int().meta({ description: 'Memory in MiB' }),
  isTemplate: z.boolean().meta({ description: 'Whether it is a template' }),
  isChangeTracked: z.boolean().meta({ description: 'Whether changed block tracking is on' }),
  hasSnapshots: z.boolean().meta({ description: 'Whether it has vSphere snapshots now' }),
  disks: z.array(VmDisk).meta({ description: 'Its virtual disks' }),
  nics: z.array(VmNic).meta({ description: 'Its network adapters' }),
}

/** A VM as a Node sees it in vSphere. */
export const DiscoveredVm = z.object(vmFields).meta({ id: 'DiscoveredVm' })
export type DiscoveredVm = z.output<typeof DiscoveredVm>

/** A discovered VM and whether it is in the inventory. */
export const DiscoveryItem = DiscoveredVm.extend({
  vmId: VmId.nullable().meta({ description: 'Id in the inventory; null when not added' }),
}).meta({ id: 'DiscoveryItem' })

export const DiscoverVmsResponse = z
  .object({
    vcenterId: VcenterId.meta({ description: 'vCenter that was asked' }),
    durationMs: z.int().meta({ description: 'How long the discovery took' }),
    vms: z.array(DiscoveryItem).meta({ description: 'What was found, by name' }),
  })
  .meta({ id: 'DiscoverVmsResponse' })

export const Vm = z
  .object({
    id: VmId.meta({ description: 'Id of the VM here' }),
    vcenterId: VcenterId.meta({ description: 'vCenter that it lives in' }),
    ...vmFields,
    addedAt: Instant.meta({ description: 'When it was added' }),
    refreshedAt: Instant.meta({ description: 'When it was last seen in vSphere' }),
  })
  .meta({ id: 'Vm' })
export type Vm = z.output<typeof Vm>

export const AddVmsResponse = z
  .object({
    added: z.array(Vm).meta({ description: 'The VMs that are in the inventory now' }),
    failed: z
      .array(
        z.object({
          instanceUuid: z.string().meta({ description: 'Which VM' }),
          code: ProblemCode,
          detail: z.string().meta({ description: 'Why it was not added' }),
        }),
      )
      .meta({ description: 'The ones that could not be added' }),
  })
  .meta({ id: 'AddVmsResponse' })

const VCENTER_PROBLEMS = [
  'node-unreachable',
  'vcenter-unreachable',
  'vcenter-certificate-mismatch',
  'vcenter-credentials-invalid',
  'vcenter-permission-missing',
  'vcenter-error',
] as const
const VcenterParams = z.object({ vcenterId: VcenterId.meta({ description: 'Id of the vCenter' }) })

export const vcenterRoutes = defineRoutes({
  createVcenter: {
    method: 'post',
    path: '/vcenters',
    summary: 'Add a vCenter; the Node logs in before anything is saved',
    permission: 'vcenters:write',
    status: 201,
    body: CreateVcenterRequest,
    response: Vcenter,
    problems: [...VCENTER_PROBLEMS, 'not-found', 'conflict'],
  },
  listVcenters: {
    method: 'get',
    path: '/vcenters',
    summary: 'List vCenters by name',
    permission: 'vcenters:read',
    query: PageQuery,
    response: pageOf('VcenterPage', Vcenter),
  },
  getVcenter: {
    method: 'get',
    path: '/vcenters/:vcenterId',
    summary: 'Get one vCenter',
    permission: 'vcenters:read',
    params: VcenterParams,
    response: Vcenter,
    problems: ['not-found'],
  },
  deleteVcenter: {
    method: 'delete',
    path: '/vcenters/:vcenterId',
    summary: 'Remove a vCenter that no VM of the inventory belongs to',
    permission: 'vcenters:write',
    params: VcenterParams,
    problems: ['not-found', 'vcenter-in-use'],
  },
})

export const inventoryRoutes = defineRoutes({
  discoverVms: {
    method: 'post',
    path: '/discovery/discover-vms',
    summary: 'Ask the Node which VMs a vCenter has',
    permission: 'inventory:write',
    body: z
      .object({
        vcenterId: VcenterId.meta({ description: 'Which vCenter' }),
        nameContains: z
          .string()
          .max(100)
          .optional()
          .meta({ description: 'Only VMs whose name contains this' }),
      })
      .meta({ id: 'DiscoverVmsRequest' }),
    response: DiscoverVmsResponse,
    problems: [...VCENTER_PROBLEMS, 'not-found'],
  },
  addVms: {
    method: 'post',
    path: '/discovery/add-vms',
    summary: 'Add VMs to the inventory',
    permission: 'inventory:write',
    body: z
      .object({
        vcenterId: VcenterId.meta({ description: 'Which vCenter' }),
        instanceUuids: z
          .array(z.string().min(1).max(100))
          .min(1)
          .max(1000)
          .meta({ description: 'Which VMs, by instance UUID: names may be ambiguous' }),
      })
      .meta({ id: 'AddVmsRequest' }),
    response: AddVmsResponse,
    problems: [...VCENTER_PROBLEMS, 'not-found'],
  },
  listVms: {
    method: 'get',
    path: '/vms',
    summary: 'List the VMs of the inventory by name',
    permission: 'inventory:read',
    query: PageQuery.extend({
      search: z.string().max(100).optional().meta({ description: 'Only VMs whose name contains this' }),
      vcenterId: VcenterId.optional().meta({ description: 'Only VMs of this vCenter' }),
      powerState: PowerState.optional().meta({ description: 'Only VMs in this power state' }),
    }),
    response: pageOf('VmPage', Vm),
  },
  getVm: {
    method: 'get',
    path: '/vms/:vmId',
    summary: 'Get one VM of the inventory',
    permission: 'inventory:read',
    params: z.object({ vmId: VmId.meta({ description: 'Id of the VM' }) }),
    response: Vm,
    problems: ['not-found'],
  },
})
