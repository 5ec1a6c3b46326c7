import { z } from 'zod'
import { BackupId, CaptureMode } from '../backups.ts'
import { DiscoveredVm, VmDisk, VmNic } from '../inventory.ts'
import { ByteCounters, JobId } from '../jobs.ts'
import { Bytes, Instant } from '../page.ts'
import { Failure, type ProblemCode } from '../problem.ts'
import { Reason, ReasonCode } from '../reason.ts'

/** Path of the WebSocket upgrade below the API's root. */
export const TUNNEL_PATH = '/tunnel'
/** Raised when a change cannot be understood by the release before. Both sides accept this one and the one before. */
export const TUNNEL_VERSION = 1

/** A method that one side of the tunnel offers the other. */
export interface TunnelMethod {
  params: z.ZodType
  result: z.ZodType
}
export type TunnelMethods = Record<string, TunnelMethod>
const defineMethods = <const M extends TunnelMethods>(methods: M): M => methods

/** What the implementing side writes. */
export type TunnelHandlers<M extends TunnelMethods> = {
  [N in keyof M]: (params: z.output<M[N]['params']>) => Promise<z.input<M[N]['result']>>
}
/** What the calling side sees. */
export type TunnelCaller<M extends TunnelMethods> = {
  [N in keyof M]: (params: z.input<M[N]['params']>) => Promise<z.output<M[N]['result']>>
}

/** How to reach a vCenter. The credentials are sealed to the key of the Node: only it can open them. */
export const VcenterAccess = z.object({
  host: z.string(),
  port: z.int(),
  /** Pinned fingerprint, hex; absent when the certificate is signed by an authority that the Node trusts. */
  thumbprint: z.string().optional(),
  /** HPKE (RFC 9180) box of the JSON of `VcenterCredentials`, base64url. */
  sealedCredentials: z.string(),
})
export type VcenterAccess = z.output<typeof VcenterAccess>

/** The content of the sealed box. */
export const VcenterCredentials = z.object({ username: z.string(), password: z.string() })
export type VcenterCredentials = z.output<typeof VcenterCredentials>

export const VcenterIdentity = z.object({
  instanceUuid: z.string(),
  version: z.string(),
  /** SHA-256 of the certificate that was shown, hex. */
  thumbprint: z.string(),
})

/** Why a base that was planned does not serve after all: problems of `beginDisk`, and the reason of the same code. */
export const BASE_TROUBLES = [
  'restore-point-missing',
  'restore-point-damaged',
  'restore-point-being-pruned',
  'restore-point-differs',
] as const satisfies readonly (ProblemCode & ReasonCode)[]
export type BaseTrouble = (typeof BASE_TROUBLES)[number]

/** What the Hub orders the Node to capture. */
export const CaptureOrder = z.object({
  jobId: JobId,
  vcenter: VcenterAccess,
  vcenterInstanceUuid: z.string(),
  vm: z.object({ instanceUuid: z.string(), moRef: z.string(), name: z.string() }),
  quiesce: z.boolean(),
  limits: z.object({
    /** NBD connections per disk. */
    connections: z.int().min(1).max(16).default(4),
    disksAtOnce: z.int().min(1).max(16).default(2),
    memoryBytesMax: Bytes.default(48 * 1024 * 1024),
    compressionLevel: z.int().min(-7).max(19).default(1),
  }),
})
export type CaptureOrder = z.output<typeof CaptureOrder>

/** The VM as it was when the snapshot was taken; becomes `vm.json` of the restore point. */
export const VmManifest = z.object({
  vcenterInstanceUuid: z.string(),
  instanceUuid: z.string(),
  biosUuid: z.string(),
  moRef: z.string(),
  name: z.string(),
  folderPath: z.string(),
  datacenter: z.string(),
  guestId: z.string(),
  guestOs: z.string(),
  firmware: z.enum(['bios', 'efi']),
  hardwareVersion: z.string(),
  cpuCount: z.int(),
  memoryMb: z.int(),
  disks: z.array(
    VmDisk.extend({
      controllerKey: z.int(),
      controllerType: z.string(),
      busNumber: z.int(),
      unitNumber: z.int(),
    }),
  ),
  nics: z.array(VmNic),
})
export type VmManifest = z.output<typeof VmManifest>

/** What the Hub knows about a disk before it is read. */
export const DiskPlan = z.object({
  diskKey: z.int(),
  /** Change id to ask for; absent when the disk must be read in full. */
  baseChangeId: z.string().optional(),
  /** Why there is no base. */
  reason: ReasonCode.optional(),
})
export type DiskPlan = z.output<typeof DiskPlan>

/** Where and with which ticket the Node sends chunks. */
export const DataPlaneAccess = z.object({
  /** Absent: the host that the tunnel goes to. */
  host: z.string().optional(),
  port: z.int(),
  captureId: z.string(),
  ticket: z.string(),
  chunkBytes: z.int(),
})
export type DataPlaneAccess = z.output<typeof DataPlaneAccess>

/** Names of the steps of a capture as the Node reports them, in order. */
export const CAPTURE_STEPS = ['prepare', 'snapshot', 'read', 'commit', 'clean-up'] as const
export const CaptureStep = z.enum(CAPTURE_STEPS)
export type CaptureStep = z.output<typeof CaptureStep>

export const CaptureState = z.object({
  jobId: JobId.meta({ description: 'Id of the job at the Hub' }),
  state: z
    .enum(['running', 'succeeded', 'failed', 'cancelled', 'unknown'])
    .meta({ description: '`unknown`: the Node has no such capture, or not any more' }),
  step: CaptureStep.nullable().meta({ description: 'The step that runs, or the last one' }),
  failure: Failure.nullable().meta({ description: 'Why it failed' }),
})
export type CaptureState = z.output<typeof CaptureState>

/** Methods of the Node that the Hub calls. */
export const nodeMethods = defineMethods({
  /** Logs in and out again; proves address, certificate and credentials. */
  testVcenter: { params: z.object({ vcenter: VcenterAccess }), result: VcenterIdentity },
  discoverVms: {
    params: z.object({
      vcenter: VcenterAccess,
      nameContains: z.string().optional(),
      instanceUuids: z.array(z.string()).optional(),
    }),
    result: z.object({ vms: z.array(DiscoveredVm) }),
  },
  /** Accepts the order and returns; the capture reports by the Hub's methods. The same job id twice is one capture. */
  startCapture: { params: CaptureOrder, result: z.object({}) },
  /** Asks the capture to stop; it ends when it has cleaned up. */
  cancelCapture: { params: z.object({ jobId: JobId }), result: z.object({}) },
  getCapture: { params: z.object({ jobId: JobId }), result: CaptureState },
})
export type NodeMethods = typeof nodeMethods

/** Methods of the Hub that the Node calls. */
export const hubMethods = defineMethods({
  /** First call after each connect. */
  hello: {
    params: z.object({
      version: z.string(),
      tunnelVersion: z.int(),
      /** Captures that run, or that ended while the tunnel was down. */
      captures: z.array(CaptureState),
    }),
    result: z.object({ version: z.string(), tunnelVersion: z.int() }),
  },
  reportStep: {
    params: z.object({
      jobId: JobId,
      step: CaptureStep,
      state: z.enum(['running', 'succeeded', 'failed']),
      at: Instant,
    }),
    result: z.object({}),
  },
  reportProgress: {
    params: z.object({
      jobId: JobId,
      disks: z.array(z.object({ diskKey: z.int(), bytes: ByteCounters, isDone: z.boolean() })),
    }),
    result: z.object({}),
  },
  /** After the snapshot was taken: which disks there are. The Hub answers with bases and opens the data plane. */
  planCapture: {
    params: z.object({
      jobId: JobId,
      capturedAt: Instant,
      isQuiesced: z.boolean(),
      reasons: z.array(Reason),
      manifest: VmManifest,
      /** Disks that are in the snapshot, with the change id that the snapshot gives them. */
      disks: z.array(z.object({ diskKey: z.int(), changeId: z.string().nullable() })),
    }),
    result: z.object({ disks: z.array(DiskPlan), dataPlane: DataPlaneAccess }),
  },
  /**
   * Before the first byte of a disk: how it will be read, and why so. Opens the disk in the data plane. Fails with one of
   * `BASE_TROUBLES` when the base that was planned does not serve after all: the Node reads the whole disk then.
   */
  beginDisk: {
    params: z.object({
      jobId: JobId,
      diskKey: z.int(),
      sizeBytes: Bytes,
      mode: CaptureMode,
      reasons: z.array(Reason),
    }),
    result: z.object({}),
  },
  /** All disks were sent: make the restore point. Idempotent: the second call answers like the first. */
  commitCapture: {
    params: z.object({ jobId: JobId, disks: z.array(z.object({ diskKey: z.int(), bytes: ByteCounters })) }),
    result: z.object({ backupId: BackupId, restorePointId: z.string() }),
  },
  /** The last word on a capture: everything is cleaned up, or what is left and will be swept. */
  finishCapture: {
    params: z.object({
      jobId: JobId,
      state: z.enum(['succeeded', 'failed', 'cancelled']),
      failure: Failure.nullable(),
      leftovers: z.array(z.string()),
    }),
    result: z.object({}),
  },
})
export type HubMethods = typeof hubMethods

/** An error as it crosses the tunnel. */
export const TunnelError = z.object({ code: z.string(), detail: z.string() })
