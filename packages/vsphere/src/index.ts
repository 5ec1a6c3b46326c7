/** vSphere as Sendense needs it: inventory, snapshots, changed areas, power and tasks over SOAP. */
export { connectVsphere } from './connect-vsphere.ts'
export { fetchThumbprint } from './soap/certificate-pin.ts'
export type * from './types.ts'
export { VsphereError, type VsphereErrorKind } from './vsphere-error.ts'
