/** vSphere as Sendense needs it: inventory, snapshots, changed areas, power and tasks over SOAP. */
export type * from './types.ts'
export { VsphereError, type VsphereErrorKind } from './vsphere-error.ts'
