import { z } from 'zod'

/** What a principal may do. `<thing>:<read|write|...>`; a route names exactly one. */
export const PERMISSIONS = {
  'account:self': 'See and change the own account',
  'enrollment:write': 'Create pairing codes; approve, reject and revoke Nodes',
  'nodes:read': 'See Nodes',
  'nodes:write': 'Limit how fast Nodes send',
  'vcenters:read': 'See vCenters (never their passwords)',
  'vcenters:write': 'Add and remove vCenters',
  'inventory:read': 'See VMs',
  'inventory:write': 'Discover VMs and add them to the inventory',
  'repositories:read': 'See repositories and their storage',
  'repositories:write': 'Add repositories, try places out, change names, limits and credentials',
  'repositories:delete': 'Remove repositories from the Hub',
  'repositories:maintain': 'Verify, prune, repair and measure repositories; remove stale locks',
  'repositories:keys': 'See, add, change and remove the keys of repositories',
  'backups:read': 'See backups',
  'backups:write': 'Start backups',
  'backups:verify': 'Verify restore points',
  'backups:restore': 'Restore from restore points',
  'backups:copy': 'Copy restore points to other repositories',
  'backups:delete': 'Remove restore points, one by one or by rules',
  'jobs:read': 'See jobs and their progress',
  'jobs:cancel': 'Cancel jobs',
  'node:tunnel': 'Connect as a Node',
} as const satisfies Record<string, string>

export type Permission = keyof typeof PERMISSIONS

const everyoneButNodes = (Object.keys(PERMISSIONS) as Permission[]).filter(name => name !== 'node:tunnel')

/** Which permissions a role holds. */
export const ROLES = {
  administrator: everyoneButNodes,
  viewer: everyoneButNodes.filter(name => name.endsWith(':read') || name === 'account:self'),
  node: ['node:tunnel'],
} as const satisfies Record<string, readonly Permission[]>

export const Role = z.enum(['administrator', 'viewer', 'node']).meta({ id: 'Role' })
export type Role = z.output<typeof Role>
