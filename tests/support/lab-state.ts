import { z } from 'zod'

const LabDisk = z.object({
  key: z.int(),
  controllerKey: z.int(),
  unitNumber: z.int(),
  label: z.string(),
  uuid: z.string(),
  file: z.string(),
  flat: z.string(),
  capacityBytes: z.int(),
  changeId: z.string(),
  mode: z.string(),
})

const LabSnapshot = z.object({ ref: z.string(), name: z.string(), disks: z.array(LabDisk) })

const LabVm = z.object({
  ref: z.string(),
  name: z.string(),
  path: z.string(),
  powerState: z.enum(['poweredOn', 'poweredOff', 'suspended']),
  template: z.boolean(),
  changeTracking: z.boolean(),
  disks: z.array(LabDisk),
  snapshots: z.array(LabSnapshot),
})

export const LabState = z.object({
  vms: z.array(LabVm),
  vddkSessions: z.int(),
  soapSessions: z.int(),
})

/** One disk; `flat` is the file on this machine that holds its bytes. */
export type LabDisk = z.infer<typeof LabDisk>
/** One snapshot with its disks as they were. */
export type LabSnapshot = z.infer<typeof LabSnapshot>
/** One VM. */
export type LabVm = z.infer<typeof LabVm>
/** All VMs, and what is still open: the answer to "did we leave something behind?". */
export type LabState = z.infer<typeof LabState>

export const LabSessions = z.array(z.object({ key: z.string(), user: z.string(), userAgent: z.string() }))
/** The open logins of SOAP clients. */
export type LabSessions = z.infer<typeof LabSessions>

export const LabInfo = z.object({
  sdk: z.url(),
  control: z.url(),
  resolver: z.string(),
  user: z.string(),
  password: z.string(),
  thumbprintSha1: z.string(),
  thumbprintSha256: z.string(),
  certificatePem: z.string(),
})
/** What the lab says about itself when it is ready. */
export type LabInfo = z.infer<typeof LabInfo>
