/**
 * What this package promises, in words of the domain. Nothing in here knows SOAP or XML.
 *
 * Managed objects are named by their MoRef value alone (`vm-64`, `snapshot-77`); their type follows from the
 * place where they are used. Sizes are in bytes unless the name says otherwise.
 */

/** Where the vCenter or ESXi is: a URL (`https://vc.example/sdk`) or a host with its port (443 if left out). */
export type VsphereEndpoint = { readonly url: string } | { readonly host: string; readonly port?: number }

/** How to connect. */
export type ConnectOptions = VsphereEndpoint & {
  readonly user: string
  readonly password: string
  /**
   * The SHA-1 or SHA-256 of the server's certificate in hex, with or without colons. When given, every new
   * connection must show exactly this certificate, and its issuer does not matter. When left out, the
   * certificate must be valid for the host and signed by a known authority.
   */
  readonly thumbprint?: string
  /** Authorities to trust instead of the system's (PEM). Ignored when a thumbprint is given. */
  readonly caPem?: string
  /** Cancels connecting; the calls of the session take a signal of their own. */
  readonly signal?: AbortSignal
  /** How long one call may take; 60 s if left out. Long polls and tasks take longer by what they wait. */
  readonly timeoutMs?: number
}

/** Logs in. Rejects with kind `credentials`, `certificate` or `unreachable` before anything else is tried. */
export type ConnectVsphere = (options: ConnectOptions) => Promise<VsphereSession>

/** Options of a call that can be cancelled. A cancelled call rejects with the signal's reason. */
export interface CallOptions {
  readonly signal?: AbortSignal
}

/**
 * A logged-in session. It logs in again by itself when the server has dropped it, and never again once the
 * credentials were refused, because that could lock the account. Every method rejects with a `VsphereError`.
 * Dispose of it (`await using`) to log out.
 */
export interface VsphereSession extends AsyncDisposable {
  readonly about: VsphereAbout

  /**
   * All virtual machines and templates that the user can see, in pages. VMs of which the server keeps the
   * configuration back are not yielded but reported to `onUnreadable`.
   */
  listVms(options?: ListVmsOptions): AsyncGenerator<VsphereVm, void, undefined>
  /** One virtual machine. Rejects with kind `not-found` if there is none. */
  getVm(moRef: string, options?: CallOptions): Promise<VsphereVm>
  /** The virtual machine with this vCenter instance UUID, if there is one. */
  findVm(query: { readonly instanceUuid: string }, options?: CallOptions): Promise<VsphereVm | undefined>

  powerState(vm: string, options?: CallOptions): Promise<PowerState>
  powerOn(vm: string, options?: TaskOptions): Promise<void>
  /** Pulls the plug. */
  powerOff(vm: string, options?: TaskOptions): Promise<void>
  /** Asks the guest to shut down and returns at once; needs running VMware Tools. */
  shutdownGuest(vm: string, options?: CallOptions): Promise<void>

  /**
   * Switches changed block tracking on. True if it was off: then it counts only from the next snapshot.
   * Rejects with fault `NotSupported` if the VM's hardware version cannot track.
   */
  enableChangeTracking(vm: string, options?: TaskOptions): Promise<boolean>
  /**
   * Creates a snapshot and returns its MoRef. When cancelled, the task is asked to stop, but the snapshot may
   * appear nevertheless, as it may when the connection is lost (`unreachable`): then look for it by its name
   * (`findRunningTasks`, `listSnapshots`).
   */
  createSnapshot(vm: string, spec: SnapshotSpec, options?: TaskOptions): Promise<string>
  /** Removes one snapshot, not its children. False if it was gone already. */
  removeSnapshot(snapshot: string, options?: RemoveSnapshotOptions): Promise<boolean>
  /** All snapshots of a VM, parents before children. */
  listSnapshots(vm: string, options?: CallOptions): Promise<VsphereSnapshot[]>
  /** The disks as they were when the snapshot was taken, with the files and change ids of the snapshot. */
  snapshotDisks(snapshot: string, options?: CallOptions): Promise<VsphereDisk[]>
  /**
   * The areas of a disk that changed between a change id and a snapshot, sorted, disjoint and not adjacent.
   * A change id that the server does not (or no longer) know rejects with fault `FileFault` or `InvalidArgument`.
   */
  queryChangedAreas(query: ChangedAreasQuery): Promise<DiskArea[]>

  /** Waits for a task of this session's vCenter; returns its result if that is a managed object. */
  waitForTask(task: string, options?: TaskOptions): Promise<string | undefined>
  /** Tasks on a VM that are queued or running. */
  findRunningTasks(vm: string, operation?: TaskOperation, options?: CallOptions): Promise<VsphereTask[]>
  /**
   * Watches scalar properties of objects. The first batch holds their present values, each further one what
   * changed. Ends when the loop is left or the signal fires.
   */
  waitForUpdates(query: UpdatesQuery): AsyncGenerator<ObjectUpdate[], void, undefined>
}

/** Which server this is. */
export interface VsphereAbout {
  /** Identity of the vCenter; absent on a standalone ESXi. */
  readonly instanceUuid: string | undefined
  /** `VirtualCenter` or `HostAgent`. */
  readonly apiType: string
  readonly apiVersion: string
  readonly version: string
  readonly build: string
  readonly name: string
  readonly fullName: string
}

export interface ListVmsOptions extends CallOptions {
  /** VMs in one answer of the server; 50 if left out. */
  readonly maxObjects?: number
  readonly onUnreadable?: (vm: UnreadableVm) => void
}

/** A VM that exists but whose configuration the server did not hand out. */
export interface UnreadableVm {
  readonly moRef: string
  readonly name: string | undefined
  /** `permission`: the user may not read it; `no-configuration`: inaccessible or orphaned on its host. */
  readonly reason: 'permission' | 'no-configuration'
}

export type PowerState = 'on' | 'off' | 'suspended'

/** A virtual machine or template as far as a backup needs it. */
export interface VsphereVm {
  readonly moRef: string
  /** Identity in the vCenter. Clones get another, copies on another vCenter may not. */
  readonly instanceUuid: string
  readonly biosUuid: string
  readonly name: string
  /** Names of the VM folders from the datacenter down, `/` for the root: `/Production/Web`. */
  readonly folderPath: string
  readonly datacenter: string | undefined
  readonly host: string | undefined
  /** Absent on a standalone host. */
  readonly cluster: string | undefined
  readonly powerState: PowerState
  /** `connected`, `disconnected`, `inaccessible`, `invalid` or `orphaned`. */
  readonly connectionState: string
  /** Identifier such as `debian12_64Guest`. */
  readonly guestOs: string | undefined
  readonly guestFullName: string | undefined
  readonly firmware: 'bios' | 'efi'
  readonly isSecureBoot: boolean
  readonly memoryMb: number
  readonly cpuCount: number
  /** `vmx-21` and the like. */
  readonly hardwareVersion: string
  readonly isTemplate: boolean
  readonly toolsStatus: ToolsStatus
  readonly changeTrackingEnabled: boolean
  readonly changeTrackingSupported: boolean
  readonly hasSnapshots: boolean
  /** In the order of their controllers and units. */
  readonly disks: readonly VsphereDisk[]
  readonly nics: readonly VsphereNic[]
  readonly controllers: readonly VsphereController[]
}

export type ToolsStatus = 'running' | 'not-running' | 'not-installed' | 'unknown'

export interface VsphereDisk {
  /** The device key of vSphere: identity of the disk within its VM. */
  readonly key: number
  readonly label: string
  /** `[datastore] folder/file.vmdk`, as vSphere writes it. */
  readonly backing: string
  readonly datastore: string
  readonly capacityBytes: number
  /** `persistent`, `independent_persistent` and so on. */
  readonly diskMode: string
  /** Independent disks are not part of snapshots and cannot be backed up with them. */
  readonly isIndependent: boolean
  readonly isThin: boolean | undefined
  /** UUID in the disk's descriptor, kept when files are moved. */
  readonly uuid: string | undefined
  /** Position in the history of changes; only on disks of a snapshot taken with tracking on. */
  readonly changeId: string | undefined
  readonly backingKind: 'flat' | 'rdm' | 'sesparse' | 'other'
  /** For raw device mappings. A physical one is not part of snapshots. */
  readonly rdmMode: 'physical' | 'virtual' | undefined
  readonly controllerKey: number | undefined
  readonly controllerType: ControllerType
  /** Number of the controller among those of its kind (the 1 in SCSI 1:4). */
  readonly controllerBus: number | undefined
  /** Place on the controller (the 4 in SCSI 1:4). */
  readonly unitNumber: number | undefined
}

export type ControllerType =
  | 'lsilogic'
  | 'lsilogic-sas'
  | 'buslogic'
  | 'pvscsi'
  | 'ide'
  | 'sata'
  | 'nvme'
  | 'other'

/** A controller that disks hang on. */
export interface VsphereController {
  readonly key: number
  readonly type: ControllerType
  readonly bus: number
  readonly label: string
  /** True if the bus is shared with other VMs (clusters of guests); such VMs cannot be snapshotted. */
  readonly isShared: boolean
}

export interface VsphereNic {
  readonly key: number
  readonly label: string
  /** `vmxnet3`, `e1000e`, … */
  readonly type: string
  readonly macAddress: string | undefined
  /** Name of the port group or network, as far as it can be seen. */
  readonly network: string | undefined
  readonly isConnected: boolean
}

export interface SnapshotSpec {
  readonly name: string
  readonly description?: string
  /** Let VMware Tools bring the guest's file systems to rest. */
  readonly quiesce: boolean
  /** Memory is never part of a backup. */
  readonly memory?: false
}

export interface RemoveSnapshotOptions extends TaskOptions {
  /** Also merge delta disks left over by failed removals; true if left out. */
  readonly consolidate?: boolean
}

export interface VsphereSnapshot {
  readonly moRef: string
  readonly name: string
  readonly description: string
  readonly createdAt: Date
  readonly isQuiesced: boolean
  /** True for the snapshot that the VM runs on. */
  readonly isCurrent: boolean
  readonly parent: string | undefined
}

export interface ChangedAreasQuery extends CallOptions {
  readonly vm: string
  readonly snapshot: string
  /** Device key of the disk. */
  readonly deviceKey: number
  /** Since when; `*` asks for all areas in use. */
  readonly changeId: string
  /** Capacity of the disk in the snapshot; the answer is checked against it. */
  readonly capacityBytes: number
}

export interface DiskArea {
  readonly offset: number
  readonly length: number
}

export interface TaskOptions extends CallOptions {
  /** Percent done, whenever the server tells it. */
  readonly onProgress?: (percent: number) => void
}

/** Operations that can be looked for among running tasks. */
export type TaskOperation = 'CreateSnapshot' | 'RemoveSnapshot' | 'Reconfigure' | 'PowerOn' | 'PowerOff'

export interface VsphereTask {
  readonly moRef: string
  /** `VirtualMachine.createSnapshot` and the like. */
  readonly descriptionId: string
  readonly state: 'queued' | 'running'
  readonly queuedAt: Date | undefined
  readonly user: string | undefined
}

export interface UpdatesQuery extends CallOptions {
  /** Managed object type, such as `VirtualMachine`. */
  readonly type: string
  readonly moRefs: readonly string[]
  /** Property paths whose values are scalars, such as `runtime.powerState`. */
  readonly paths: readonly string[]
}

export interface ObjectUpdate {
  readonly moRef: string
  /** `leave`: the object was deleted or can no longer be seen. */
  readonly kind: 'enter' | 'modify' | 'leave'
  /** Paths that changed, with values as vSphere writes them; undefined for a property that was unset. */
  readonly values: Readonly<Record<string, string | number | boolean | undefined>>
}

/** Fingerprints of a certificate, upper-case hex with colons, to be shown to a person who decides to trust it. */
export interface CertificateThumbprint {
  readonly sha1: string
  readonly sha256: string
  readonly subject: string
  readonly issuer: string
  readonly validFrom: Date
  readonly validTo: Date
}
