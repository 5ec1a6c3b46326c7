import { PERMISSIONS, ROLES } from '../packages/contracts/src/permission.ts'
import type { ApiMap } from '../packages/contracts/src/route.ts'

/** A page that says which permission each route needs and which role holds it. */
export function permissionTable(api: ApiMap, root: string): string {
  const routes = Object.values(api).flatMap(routeMap => Object.values(routeMap))
  return [
    '# Permissions',
    'Made from the contract by `make generate`.',
    '## Roles',
    table(
      ['permission', 'allows to', ...Object.keys(ROLES)],
      Object.entries(PERMISSIONS).map(([permission, meaning]) => [
        `\`${permission}\``,
        meaning,
        ...Object.values(ROLES).map(held => ((held as readonly string[]).includes(permission) ? 'yes' : '')),
      ]),
    ),
    '## Routes',
    table(
      ['route', 'what it does', 'permission'],
      routes.map(({ method, path, summary, permission }) => [
        `\`${method.toUpperCase()} ${root}${path}\``,
        summary,
        permission === 'public' ? 'none' : `\`${permission}\``,
      ]),
    ),
  ]
    .join('\n\n')
    .concat('\n')
}

function table(head: string[], rows: string[][]): string {
  return [head, head.map(() => '---'), ...rows].map(row => `| ${row.join(' | ')} |`).join('\n')
}
