import type { NewRepositoryPlace } from '@sendense/contracts'

/** What is to be mounted, as the mount program and the kernel's list of mounts name it. */
export interface MountSpec {
  /** Type for the mount program. */
  readonly type: string
  /** Types under which the kernel lists such a mount. */
  readonly listedTypes: readonly string[]
  readonly source: string
  /** Beyond those that every mount gets. No secrets: they stand on the command line of the program. */
  readonly options: readonly string[]
  /** Given to the program in a file that only the Hub can read. */
  readonly credentials?: {
    readonly username: string
    readonly password: string
    readonly domain?: string | undefined
  }
}

export type MountedPlace = Extract<NewRepositoryPlace, { type: 'nfs' | 'smb' }>

/** How a share is mounted. A server that goes away becomes an error after a while; nothing hangs for ever. */
export function mountSpecOf(place: MountedPlace): MountSpec {
  if (place.type === 'nfs') {
    return {
      type: 'nfs',
      listedTypes: ['nfs', 'nfs4'],
      source: `${bracketed(place.server)}:${place.exportPath}`,
      options: [`vers=${place.version}`, 'soft', 'timeo=300', 'retrans=3', 'retry=0'],
    }
  }
  const { username, password, domain } = place
  return {
    type: 'cifs',
    listedTypes: ['cifs', 'smb3'],
    source: `//${place.server}/${place.share}`,
    options: [`vers=${place.version}`, 'soft', 'iocharset=utf8', 'file_mode=0600', 'dir_mode=0700'],
    credentials: { username, password, domain },
  }
}

/** An IPv6 address needs brackets before a colon. */
function bracketed(server: string): string {
  return server.includes(':') && !server.startsWith('[') ? `[${server}]` : server
}
