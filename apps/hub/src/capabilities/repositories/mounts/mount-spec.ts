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
      source: `${isAddressV6(place.server) ? `[${bare(place.server)}]` : place.server}:${place.exportPath}`,
      // With `soft` no answer would look like a broken medium (EIO).
      options: [`vers=${place.version}`, 'softerr', 'timeo=300', 'retrans=3', 'retry=0'],
    }
  }
  const { username, password, domain } = place
  return {
    type: 'cifs',
    listedTypes: ['cifs', 'smb3'],
    source: `//${bare(place.server)}/${place.share}`,
    options: [`vers=${place.version}`, 'soft', 'iocharset=utf8', 'file_mode=0600', 'dir_mode=0700'],
    credentials: { username, password, domain },
  }
}

/** The mount program of NFS wants brackets around an IPv6 address, and the one of SMB wants none. */
function bare(server: string): string {
  return server.replace(/^\[|\]$/g, '')
}

function isAddressV6(server: string): boolean {
  return server.includes(':')
}
