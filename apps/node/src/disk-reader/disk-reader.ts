import type { JobId } from '@sendense/contracts'
import type { AppError } from '@sendense/platform'

/** A disk as a snapshot holds it, and how to reach it. */
export interface DiskSource {
  readonly server: {
    readonly host: string
    readonly port: number
    readonly username: string
    readonly password: string
    /** SHA-1 of the certificate that the session of this capture was checked against, with colons: VDDK wants it so. */
    readonly sha1Thumbprint: string
  }
  readonly vmMoRef: string
  readonly snapshotMoRef: string
  /** Datastore path of the disk in the snapshot: `[datastore] folder/file.vmdk`. */
  readonly file: string
}

/** A running NBD server for one disk. Disposing of it ends the server and leaves nothing behind; it never throws. */
export interface DiskReader extends AsyncDisposable {
  /** Unix socket that serves the disk under the empty export name. */
  readonly socketPath: string
  /**
   * Tells why reading failed. The NBD client sees no more than "cannot open" or "cannot read"; the cause stands in
   * what the server wrote.
   */
  explain(error: unknown): Promise<AppError>
}

/** Makes disk readers. */
export interface DiskReaders {
  open(source: DiskSource, options: { jobId: JobId; signal: AbortSignal }): Promise<DiskReader>
}
