/** What went wrong, as far as a caller acts on it. */
export type VsphereErrorKind =
  /** Login refused. Do not try again with the same credentials. */
  | 'credentials'
  /** The user lacks a privilege; see `privilegeId`. */
  | 'permission'
  | 'not-found'
  /** The server's certificate is not the pinned one, or not trusted. */
  | 'certificate'
  /** No connection, no answer in time, or the service is not up. */
  | 'unreachable'
  /** Another task holds the object. */
  | 'busy'
  /** A file of the VM cannot be used; for changed areas also: the change id is not known. */
  | 'file'
  /** The request does not fit the object, its state or the protocol. */
  | 'invalid'
  | 'other'

/** What a `VsphereError` is made of. */
export interface VsphereErrorDetails {
  readonly fault: string
  readonly kind?: VsphereErrorKind
  readonly message: string
  readonly privilegeId?: string | undefined
  readonly invalidProperty?: string | undefined
  readonly file?: string | undefined
  readonly object?: string | undefined
  readonly cause?: unknown
}

/**
 * The one error of this package. It never holds a request, because that of the login carries the password:
 * errors of the HTTP library are translated, not wrapped.
 */
export class VsphereError extends Error {
  override readonly name = 'VsphereError'
  /** Type of the vSphere fault (`NoPermission`, `FileFault`, …), or our own word where no fault was sent. */
  readonly fault: string
  readonly kind: VsphereErrorKind
  /** The missing privilege, for kind `permission`. */
  readonly privilegeId: string | undefined
  /** The refused parameter, for `InvalidArgument` and its like. */
  readonly invalidProperty: string | undefined
  /** The file concerned, for kind `file`. */
  readonly file: string | undefined
  /** MoRef of the object concerned, where the fault names one. */
  readonly object: string | undefined

  constructor(details: VsphereErrorDetails) {
    super(details.message, details.cause === undefined ? undefined : { cause: details.cause })
    this.fault = details.fault
    this.kind = details.kind ?? kindOfFault(details.fault)
    this.privilegeId = details.privilegeId
    this.invalidProperty = details.invalidProperty
    this.file = details.file
    this.object = details.object
  }

  /** True if the same call may succeed later without anyone changing anything. */
  get isTemporary(): boolean {
    return this.kind === 'unreachable' || this.kind === 'busy'
  }
}

function kindOfFault(fault: string): VsphereErrorKind {
  return KIND_OF_FAULT.get(fault) ?? 'other'
}

const FAULTS: Partial<Record<VsphereErrorKind, readonly string[]>> = {
  credentials: ['InvalidLogin', 'NotAuthenticated', 'NoClientCertificate', 'PasswordExpired'],
  permission: ['NoPermission', 'RestrictedVersion', 'RestrictedByAdministrator'],
  'not-found': ['ManagedObjectNotFound', 'NotFound'],
  unreachable: ['HostNotReachable', 'HostNotConnected', 'HostCommunication', 'HostConnectFault', 'Timedout'],
  busy: ['TaskInProgress', 'ResourceInUse', 'ConcurrentAccess', 'FileLocked', 'VAppOperationInProgress'],
  file: [
    'FileFault',
    'FileNotFound',
    'FileAlreadyExists',
    'FileNotWritable',
    'FileTooLarge',
    'CannotAccessFile',
    'CannotDeleteFile',
    'InvalidDatastorePath',
    'NoDiskSpace',
  ],
  invalid: [
    'InvalidArgument',
    'InvalidName',
    'InvalidPowerState',
    'InvalidProperty',
    'InvalidRequest',
    'InvalidState',
    'InvalidType',
    'InvalidVmConfig',
    'InvalidVmState',
    'MethodNotFound',
    'NotImplemented',
    'NotSupported',
    'DuplicateName',
    'ToolsUnavailable',
  ],
}

const KIND_OF_FAULT: ReadonlyMap<string, VsphereErrorKind> = new Map(
  Object.entries(FAULTS).flatMap(([kind, faults]) =>
    faults.map(fault => [fault, kind as VsphereErrorKind] as const),
  ),
)
