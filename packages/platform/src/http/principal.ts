import { type Permission, type ProblemCode, ROLES, type Role } from '@sendense/contracts'

/** Who calls. */
export interface Principal {
  readonly id: string
  readonly name: string
  readonly role: Role
  can(permission: Permission): boolean
  /** The code to refuse with when `can` says no; `forbidden` when absent. */
  readonly refusal?: ProblemCode
  /** The session whose token it came with. */
  readonly sessionId?: string
}

/** A principal that may do what its role allows. */
export function principalOf(caller: { id: string; name: string; role: Role }): Principal {
  const permissions: readonly Permission[] = ROLES[caller.role]
  return { ...caller, can: permission => permissions.includes(permission) }
}
