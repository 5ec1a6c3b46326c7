/** The kinds of disk controllers that a VM of the lab can have. */
export type LabController = 'pvscsi' | 'lsilogic' | 'lsilogicsas' | 'nvme' | 'sata' | 'ide'

/** A disk to create. */
export interface LabDiskSpec {
  readonly sizeBytes: number
  /** Index into the VM's controllers; 0 when missing. */
  readonly controller?: number
  /** Unit on the controller; the next free one when missing. */
  readonly unit?: number
  readonly mode?:
    | 'persistent'
    | 'independent_persistent'
    | 'independent_nonpersistent'
    | 'nonpersistent'
    | 'undoable'
    | 'append'
  /** A raw file whose content the disk starts with. */
  readonly image?: string
}

/** A VM to create; names may hold brackets and any script, and occur again in another folder. */
export interface LabVmSpec {
  readonly name: string
  /** Below the datacenter's VM folder, `a/b`. */
  readonly folder?: string
  /** `on` when missing. */
  readonly powerState?: 'on' | 'off'
  readonly template?: boolean
  readonly firmware?: 'bios' | 'efi'
  readonly guestId?: string
  readonly cpus?: number
  readonly memoryMb?: number
  readonly annotation?: string
  readonly changeTracking?: boolean
  /** One `pvscsi` when missing. */
  readonly controllers?: readonly LabController[]
  readonly disks?: readonly LabDiskSpec[]
  readonly nics?: readonly { readonly network?: string; readonly type?: string; readonly mac?: string }[]
}
