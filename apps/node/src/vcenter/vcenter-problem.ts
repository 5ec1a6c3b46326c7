import type { ProblemCode } from '@sendense/contracts'
import { AppError } from '@sendense/platform'
import { VsphereError, type VsphereErrorKind } from '@sendense/vsphere'

/** Puts an error of the vSphere client under a code of the contract; leaves others as they are. */
export function vcenterProblem(error: unknown): unknown {
  if (!(error instanceof VsphereError)) return error
  return new AppError(CODE_OF_KIND[error.kind], { detail: error.message, cause: error })
}

/** Runs calls to a vCenter; what they reject with is under a code of the contract. */
export async function callVcenter<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw vcenterProblem(error)
  }
}

const CODE_OF_KIND: Record<VsphereErrorKind, ProblemCode> = {
  credentials: 'vcenter-credentials-invalid',
  permission: 'vcenter-permission-missing',
  'not-found': 'vm-not-found',
  certificate: 'vcenter-certificate-mismatch',
  unreachable: 'vcenter-unreachable',
  busy: 'vcenter-busy',
  file: 'vcenter-error',
  invalid: 'vcenter-error',
  other: 'vcenter-error',
}
