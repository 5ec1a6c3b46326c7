import { join } from 'node:path'
import type { DiskSource } from './disk-reader.ts'

/** How nbdkit is called on this machine. */
export interface NbdkitSettings {
  /** Program, by name or path. */
  readonly nbdkit: string
  /** The vddk plugin, by name or path. */
  readonly vddkPlugin: string
  /** Folder of VMware's library (`libdir` of the plugin). */
  readonly vddkLibraryDirectory: string
  /** VDDK transport modes in order of preference. `nbdssl` unless clear text was asked for. */
  readonly transports: string
}

/** The files in the private directory of one nbdkit. */
export function readerFiles(directory: string) {
  return {
    socket: join(directory, 'nbd'),
    pid: join(directory, 'pid'),
    password: join(directory, 'pw'),
  }
}

/**
 * The command line of nbdkit (nbdkit(1), nbdkit-vddk-plugin(1)). It holds no secret: the password is read from a file.
 * `multi-conn` is not advertised by the plugin, but several connections to a disk that nobody writes are safe.
 */
export function nbdkitArguments(settings: NbdkitSettings, directory: string, source: DiskSource): string[] {
  const files = readerFiles(directory)
  return [
    '--foreground',
    '--exit-with-parent',
    '--readonly',
    `--unix=${files.socket}`,
    `--pidfile=${files.pid}`,
    '--filter=blocksize',
    settings.vddkPlugin,
    // A chunk may be 8 MiB, and VDDK cannot always allocate that much; sectors are the smallest it reads.
    'minblock=512',
    'maxdata=2M',
    `libdir=${settings.vddkLibraryDirectory}`,
    `server=${source.server.host}`,
    `port=${source.server.port}`,
    `user=${source.server.username}`,
    `password=+${files.password}`,
    `thumbprint=${source.server.sha1Thumbprint}`,
    `vm=moref=${source.vmMoRef}`,
    `snapshot=${source.snapshotMoRef}`,
    `file=${source.file}`,
    `transports=${settings.transports}`,
  ]
}

/**
 * The environment of nbdkit: little of ours. The plugin starts itself again with the LD_LIBRARY_PATH that VMware's
 * library needs, and refuses to if there is one already; messages are to be in English, because they are classified.
 */
export function nbdkitEnvironment(directory: string): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH, HOME: directory, TMPDIR: directory, LC_ALL: 'C.UTF-8' }
}
