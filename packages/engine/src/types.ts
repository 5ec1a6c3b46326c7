// What the engine takes and gives. Bytes of disks are not among it.

/** How a caller follows and ends a long operation. */
export interface JobOptions<Counters> {
  /** Aborting it ends the operation within a second or so; the promise rejects with code `cancelled`. */
  readonly signal?: AbortSignal
  /** Called about once a second and once at the end. */
  readonly onProgress?: (counters: Counters) => void
}

export interface DataPlaneOptions {
  /** Address to bind, for example `0.0.0.0` or `127.0.0.1`. */
  readonly host: string
  /** 0 for any free port. */
  readonly port: number
  /** The Hub's certificate (end entity first) and its key, PEM. */
  readonly certificatePem: string
  readonly privateKeyPem: string
}

/** The Hub's listener for the blocks of disks. Sessions register with it when a capture begins. */
export interface DataPlane extends AsyncDisposable {
  /** The port it listens on. */
  readonly port: number
  /** SHA-256 of the certificate, lower-case hex: what a Node pins. */
  readonly certificateSha256: string
  /** Stops listening and drops all connections. Sessions stay as they are. */
  close(): Promise<void>
}

/**
 * Where the files of a repository lie. Below the path or prefix they have restic's layout, so that stock restic opens
 * the same place.
 */
export type RepositoryPlace =
  /** A folder of the Hub's machine, which may be a mounted network share. */
  { readonly type: 'local'; readonly path: string } | S3Place | AzurePlace | SftpPlace | RestPlace

/** A bucket of anything that speaks S3. */
export interface S3Place {
  readonly type: 's3'
  /** `https://host[:port]`. */
  readonly endpoint: string
  readonly region: string
  readonly bucket: string
  /** The folder in the bucket; the whole bucket if absent. */
  readonly prefix?: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** Whether the bucket is part of the host name instead of the path. */
  readonly virtualHosted?: boolean
  /** Authorities to trust instead of the machine's own, PEM. */
  readonly caPem?: string
  /** Protects every file but locks against removal for so many days from its upload on. */
  readonly objectLock?: { readonly mode: 'governance' | 'compliance'; readonly days: number }
}

/** A container of Azure Blob Storage. */
export interface AzurePlace {
  readonly type: 'azure'
  /** `https://host[:port][/path]`; that of Azure for the account if absent. */
  readonly endpoint?: string
  /** The storage account. */
  readonly account: string
  /** One of its keys, in Base64. */
  readonly accountKey: string
  readonly container: string
  /** The folder in the container; the whole container if absent. */
  readonly prefix?: string
  /** Authorities to trust instead of the machine's own, PEM. */
  readonly caPem?: string
}

/** A folder of an SSH server. */
export interface SftpPlace {
  readonly type: 'sftp'
  readonly host: string
  readonly port: number
  readonly username: string
  /** Without a slash at its beginning it lies in the home of the user. */
  readonly path: string
  /** As OpenSSH writes it, without a passphrase. */
  readonly privateKeyPem: string
  /** The one host key that is accepted, as in `known_hosts`: `ssh-ed25519 AAAA…`. */
  readonly hostKey: string
}

/** A server that speaks restic's REST protocol. */
export interface RestPlace {
  readonly type: 'rest'
  readonly url: string
  readonly username: string
  readonly password: string
  /** Pin: SHA-256 of the server's certificate, hex; the machine's authorities decide if absent. */
  readonly certificateSha256?: string
}

/** What a place told when it was tried out: a small file was written, read back, listed and removed. */
export interface PlaceProbe {
  /** Whether there is a config, so a repository. */
  readonly isRepository: boolean
  /** Whether there is nothing at all. */
  readonly isEmpty: boolean
  /** `null` where the place cannot tell, as most object stores. */
  readonly totalBytes: number | null
  readonly freeBytes: number | null
  /** How long the fastest answer took. */
  readonly latencyMs: number
  /** Whether the place can be told to make a file durable; without it a power failure there may take the last files. */
  readonly isDurable: boolean
  /** By how much the place's clock is ahead of ours; `null` where it does not tell the time. */
  readonly clockSkewMs: number | null
  /** Whether the bucket can protect files, and how it does by itself; `null` where there is no such thing. */
  readonly objectLock: {
    readonly enabled: boolean
    readonly mode: 'governance' | 'compliance' | null
    readonly days: number | null
  } | null
}

/** What a repository may take of its place and of the way there. Absent: no limit. */
export interface RepositoryLimits {
  readonly readBytesPerSecondMax?: number
  readonly writeBytesPerSecondMax?: number
  /** How large it may become; `repository-quota-exceeded` then. */
  readonly quotaBytes?: number
  /** What of the place it leaves free; `repository-low-space` then. */
  readonly reserveBytes?: number
}

export interface RepositoryLocation {
  readonly place: RepositoryPlace
  readonly password: string
  readonly limits?: RepositoryLimits
}

export interface RestorePointInfo {
  readonly id: string
  readonly time: Date
  readonly hostname: string
  readonly tags: readonly string[]
  /** Names of the files in it: `vm.json`, `disk-2000.raw` (see `diskFileName`). */
  readonly paths: readonly string[]
}

export interface RepositoryStorage {
  /** Size and free space of the filesystem below; what an unprivileged user may still write. */
  readonly totalBytes: number
  readonly freeBytes: number
  /** Bytes of the repository's own files. */
  readonly usedBytes: number
  readonly packCount: number
  readonly chunkCount: number
}

export interface BeginCaptureOptions {
  /** Names the capture in the data plane's paths: 1 to 128 of `A-Z a-z 0-9 . _ -`. */
  readonly captureId: string
  /** The listener that the Node will send to. */
  readonly dataPlane: DataPlane
  /** 128 KiB to 8 MiB, a power of two. */
  readonly chunkBytes: number
  /** How fast the Hub reads from this capture's Node, all disks together. Absent: no limit. */
  readonly bytesPerSecondMax?: number
  /** Limits shared with other captures, for example with all of a Node or of a repository. */
  readonly rateLimits?: readonly RateLimit[]
  /** A session without a request for this long is aborted by itself. */
  readonly idleTimeoutMs: number
  /** How long the ticket is good at most; 7 days by default. */
  readonly ticketLifetimeMs?: number
}

/** How far a verification is. `totalBytes` is known once the restore point's lists are read. */
export interface VerifyCounters {
  readonly checkedBytes: number
  readonly totalBytes: number
}

export interface VerifyReport {
  /** Distinct chunks that were read, decrypted, decompressed and hashed. Never 0 for a restore point with data. */
  readonly chunks: number
  readonly bytes: number
  /** What could not be read back, in words; empty if all is well. */
  readonly damaged: readonly string[]
}

export interface CheckReport {
  readonly packs: number
  readonly chunks: number
  readonly restorePoints: number
  /** What `readData` proved: packs that were read to the last byte, decrypted and hashed, their bytes, and the time it took. */
  readonly readPacks: number
  readonly readBytes: number
  readonly readMs: number
  /** What is wrong, in words. */
  readonly problems: readonly string[]
  readonly damagedRestorePoints: readonly DamagedRestorePoint[]
}

export interface RestoreDiskOptions {
  readonly restorePointId: string
  /** Name of the disk's file in the restore point. */
  readonly file: string
  /** The raw file to write, absolute. It appears under this name when it is complete, and not before. */
  readonly targetPath: string
  /** Whether a file of that name may be replaced; `restore-target-exists` otherwise. */
  readonly overwrite: boolean
}

/** A rate that several captures keep together. Whoever asks first is served first, so they get about the same. */
export interface RateLimit {
  /** In force at once, for those who wait too; `null` is no limit. */
  setRate(bytesPerSecond: number | null): Promise<void>
}

export interface RestoreCounters {
  readonly logicalBytes: number
  /** Bytes done, holes included. */
  readonly doneBytes: number
  /** Bytes written; zero chunks are holes. */
  readonly writtenBytes: number
}

export interface RestoreReport {
  readonly path: string
  readonly sizeBytes: number
  readonly writtenBytes: number
}

export interface AdoptReport {
  /** Packs that a killed process had written and no index named; their chunks count as stored from now on. */
  readonly packs: number
  readonly chunks: number
}

export interface PruneOptions {
  /** How long a pack stays marked before it is deleted. A day is what protects readers that take no lock. */
  readonly graceMs: number
  /** How far the clocks of writers and pruner may be apart; an hour by default, and at most half of the grace. */
  readonly clockMarginMs?: number
  /** The part of the kept packs that may consist of what nobody needs, 0 to 1. Beyond it packs are copied without it. */
  readonly wasteRatioMax: number
  readonly repackBytesMax?: number
  /** Keeps everybody else out and deletes at once, for a place that is full; `repository-locked` while anybody works. */
  readonly exclusive?: boolean
  /** Says what would be done and changes nothing. */
  readonly dryRun?: boolean
}

/** Each phase counts its own; totals are 0 until they are known. */
export interface PruneCounters {
  readonly walkedRestorePoints: number
  readonly totalRestorePoints: number
  readonly repackedBytes: number
  readonly totalRepackBytes: number
  readonly deletedPacks: number
}

export interface PackAmount {
  readonly packs: number
  readonly bytes: number
}

/** Packs that nobody needs and that stay for the time being. */
export interface PruneBlocked extends PackAmount {
  /** `other` is for reasons that a newer engine may add. */
  readonly by:
    | 'grace'
    | 'writer'
    | 'foreign-lock'
    | 'unreadable-lock'
    | 'protection'
    | 'writers-at-work'
    | 'missing-chunks'
    | 'other'
  /** Until when at least; null where that is not known. */
  readonly until: Date | null
  /** The holder of the lock that is waited for. */
  readonly hostname: string | null
  readonly pid: number | null
}

export interface PruneReport {
  readonly restorePoints: number
  readonly kept: PackAmount
  /** Marked by this call, to be deleted by one that comes after the grace. */
  readonly marked: PackAmount
  /** Copied without what nobody needs; they are among the marked ones. */
  readonly repacked: PackAmount
  /** What the copies take. */
  readonly copied: PackAmount
  /** Marked before, and needed again. */
  readonly unmarked: PackAmount
  readonly deleted: PackAmount
  readonly blocked: readonly PruneBlocked[]
  /** Bytes in kept packs that nobody needs. */
  readonly unusedBytes: number
  readonly indexFilesBefore: number
  readonly indexFilesAfter: number
  /** Chunks that restore points need and that are nowhere: a repair may help. */
  readonly missingChunks: number
  /** Packs that were to be copied and cannot be read completely; they stay, for a repair. */
  readonly damagedPacks: number
  /** Locks that nobody had refreshed for longer than the grace. */
  readonly removedLocks: number
}

export interface CopyCounters {
  readonly doneRestorePoints: number
  readonly totalRestorePoints: number
  /** Plain bytes of the chunks that were copied, of those that the restore points looked at so far lack in the target. */
  readonly doneBytes: number
  readonly totalBytes: number
}

export interface CopiedRestorePoint {
  readonly sourceId: string
  readonly targetId: string
  /** Whether an earlier copy had made it. */
  readonly wasThere: boolean
}

export interface CopyReport {
  readonly points: readonly CopiedRestorePoint[]
  readonly chunks: number
  readonly copiedBytes: number
  readonly storedBytes: number
  /** Chunks that the target had. */
  readonly skippedChunks: number
  /** Chunks that were read back from the target before a restore point was listed there: all that were copied. */
  readonly verifiedChunks: number
}

export interface DamagedRestorePoint {
  readonly id: string
  /** Files that cannot be read completely; empty when not even the list of files can. */
  readonly paths: readonly string[]
}

export interface RepairReport {
  /** Packs that no index file named and that were taken over. */
  readonly adoptedPacks: number
  /** Index files that could not be read. */
  readonly removedIndexFiles: number
  /**
   * Index files that cannot be read or name packs that are not whole, and that the storage protects. Sendense does not
   * rely on what they say; stock restic finds fault with it until they can be removed.
   */
  readonly protectedIndexFiles: number
  readonly damagedPacks: number
  readonly missingPacks: number
  /** Chunks and directories that were whole in damaged packs. */
  readonly salvagedChunks: number
  /** Chunks and directories that came from the second repository. */
  readonly healedChunks: number
  /** What is still wrong, in words. */
  readonly problems: readonly string[]
  /** What cannot be read completely. Nothing of it was removed. */
  readonly damagedRestorePoints: readonly DamagedRestorePoint[]
}

export interface RepositoryStatistics {
  readonly restorePointCount: number
  /** Bytes of all files of all restore points, as if nothing were shared. */
  readonly logicalBytes: number
  /** Plain bytes of the distinct chunks. */
  readonly uniqueBytes: number
  /** Bytes of all packs. */
  readonly storedBytes: number
  /** Index files, snapshot files and directories. */
  readonly metadataBytes: number
  /** What the last prune of this process found to be wasted; null if there was none. */
  readonly unusedBytes: number | null
  readonly chunkCount: number
  readonly packCount: number
  readonly indexFileCount: number
}

export interface RepositoryKey {
  readonly id: string
  /** Null where its file does not say so. */
  readonly createdAt: Date | null
  readonly username: string
  readonly hostname: string
  /** Whether it is the one that this repository was opened with. */
  readonly isCurrent: boolean
  /** Whether another one has taken its place. It goes with a prune, or a change of the password, when its protection is over. */
  readonly isSuperseded: boolean
}

/** A key that the storage does not let be removed yet. */
export interface KeptKey {
  readonly id: string
  /** Null where the storage does not say until when. */
  readonly until: Date | null
}

export interface RepositoryLock {
  readonly id: string
  /** When it was made or refreshed last. */
  readonly createdAt: Date
  readonly hostname: string
  readonly username: string
  readonly pid: number
  readonly isExclusive: boolean
  /** Whether its holder is probably dead. */
  readonly isStale: boolean
  /** What its holder does; `foreign` for other tools. */
  readonly role: 'write' | 'prune' | 'foreign'
}

export interface RestorePointProtection {
  readonly until: Date
  readonly mode: 'governance' | 'compliance'
}

/** An open repository. Every chunk that is read back is verified against its hash. */
export interface Repository extends AsyncDisposable {
  /** The id in the repository's own config: the same wherever it is mounted. */
  readonly id: string
  /** All restore points, oldest first; one whose lists are damaged has no paths, one whose own file is damaged is left out. */
  restorePoints(): Promise<readonly RestorePointInfo[]>
  /** The ids of all restore points that are there, readable or not: one listing, and nothing is read. */
  restorePointIds(): Promise<readonly string[]>
  /** A small text file of a restore point. */
  readText(restorePointId: string, path: string): Promise<string>
  /** Removes a restore point from the list. Its chunks stay until a prune. */
  forget(restorePointId: string): Promise<void>
  storage(): Promise<RepositoryStorage>
  beginCapture(options: BeginCaptureOptions): Promise<CaptureSession>
  /** Reads every chunk of a restore point. Damage is reported, not thrown. */
  verify(restorePointId: string, options?: JobOptions<VerifyCounters>): Promise<VerifyReport>
  /** Checks packs, index and restore points against each other; with `readData` every byte. */
  check(
    /** With `samplePercent`, `readData` reads that share of the packs, chosen by chance. */
    options?: { readData?: boolean; samplePercent?: number } & JobOptions<VerifyCounters>,
  ): Promise<CheckReport>
  /** Removes what no restore point needs, in two phases, beside running captures. */
  prune(options: PruneOptions & JobOptions<PruneCounters>): Promise<PruneReport>
  /** Copies restore points to another repository; one that was interrupted goes on where it was. */
  copyTo(
    target: Repository,
    options: { restorePointIds: readonly string[] } & JobOptions<CopyCounters>,
  ): Promise<CopyReport>
  /** Repairs what can be repaired, with the help of a repository that may have what is lost here. */
  repair(
    options?: { dryRun?: boolean; source?: Repository } & JobOptions<VerifyCounters>,
  ): Promise<RepairReport>
  statistics(): Promise<RepositoryStatistics>
  keys(): Promise<readonly RepositoryKey[]>
  /** Makes a key for another password; its id. */
  addKey(password: string): Promise<string>
  /** Removes a key; `repository-key-last` for the one in use. */
  removeKey(id: string): Promise<void>
  /** Replaces the password that this repository was opened with. The old key, where the storage protects it. */
  changePassword(newPassword: string): Promise<KeptKey | null>
  locks(): Promise<readonly RepositoryLock[]>
  /** Removes the locks whose holders are probably dead; how many there were. */
  removeStaleLocks(): Promise<number>
  /** Until when a restore point cannot be removed; null where it can. */
  protection(restorePointId: string): Promise<RestorePointProtection | null>
  restoreDisk(disk: RestoreDiskOptions, options?: JobOptions<RestoreCounters>): Promise<RestoreReport>
  /** To be called once after opening, before captures: see `AdoptReport`. */
  adoptOrphans(): Promise<AdoptReport>
  /** Aborts the sessions that are still open. */
  close(): Promise<void>
}

/** A disk of a session, before its Node begins to send. */
export interface CaptureSessionDisk {
  /** The vSphere device key, as text: 1 to 128 of `A-Z a-z 0-9 . _ -`. */
  readonly diskKey: string
  readonly sizeBytes: number
  /** The restore point that changed areas are relative to. Absent: the whole disk will be covered. */
  readonly base?: { readonly restorePointId: string; readonly file: string }
}

/** What the Hub has received of one disk. */
export interface CaptureSessionDiskCounters {
  readonly diskKey: string
  readonly logicalBytes: number
  /** Bytes of the chunks that were offered with an id, and of those declared zero. */
  readonly offeredBytes: number
  readonly zeroBytes: number
  /** Plain bytes of the chunks that the repository lacked, and the same as stored. */
  readonly newBytes: number
  readonly storedBytes: number
  /** Whether the Node has finished the disk and the Hub found it complete. */
  readonly finished: boolean
}

export interface CaptureSessionCounters {
  readonly disks: readonly CaptureSessionDiskCounters[]
}

export interface CommitOptions {
  /** Name of the VM, as `restic snapshots` shows it. */
  readonly hostname: string
  /** Directory of the files in the restore point, the same for all of a VM. Made from the name if absent. */
  readonly directory?: string
  readonly time: Date
  readonly tags: readonly string[]
  /** The restore point this one follows; informative only, every restore point is complete. */
  readonly parent?: string
  /** Small text files beside the disks, for example `vm.json`. */
  readonly files: readonly { readonly name: string; readonly text: string }[]
}

export interface CommitReport {
  readonly restorePointId: string
  readonly newBytes: number
  readonly storedBytes: number
}

/**
 * The Hub's side of one capture: all disks of one VM, one restore point or none. It ends by `commit`, `abort`, or
 * by itself when its Node stays silent for too long; whatever was received stays known to the repository.
 */
export interface CaptureSession extends AsyncDisposable {
  /** The capture id, part of the data plane's paths. */
  readonly id: string
  /** The secret that lets one Node send for this session, and nothing else. */
  readonly ticket: string
  /**
   * Adds a disk. Fails with `restore-point-missing`, `restore-point-damaged`, `base-disk-missing`,
   * `base-size-differs`, `base-chunk-size-differs` or `restore-point-being-pruned` if the base cannot serve: begin it again
   * without a base then, and say why.
   */
  beginDisk(disk: CaptureSessionDisk): Promise<void>
  /** Takes a disk out again, for example one that the Node could not open. */
  dropDisk(diskKey: string): Promise<void>
  counters(): CaptureSessionCounters
  /** False once the session has ended, by whatever cause. */
  readonly isOpen: boolean
  /** Writes the restore point, atomically. Fails with `capture-incomplete` if a disk is not finished. */
  commit(options: CommitOptions): Promise<CommitReport>
  /** Ends the session without a restore point. May be called at any time, and again. */
  abort(): Promise<void>
}

/** A range of bytes of a disk. */
export interface Extent {
  readonly offset: number
  readonly length: number
}

/**
 * What to read. The kinds `whole` and `allocated` cover the disk (what is not read is zero by declaration);
 * `changed` is relative to the base that the Hub's session has for the disk, and the Hub refuses one without the other.
 */
export type DiskAreas =
  /** Everything, less what the source itself reports as a hole (NBD block status). */
  | { readonly kind: 'whole' }
  /** Only these; everything else is known to be zero. */
  | { readonly kind: 'allocated'; readonly extents: readonly Extent[] }
  /** Only these; everything else is as in the base. An empty list is a valid answer: nothing changed. */
  | { readonly kind: 'changed'; readonly extents: readonly Extent[] }

export interface CaptureDiskOptions {
  /** The NBD server of the disk, on a private unix socket. */
  readonly source: { readonly socketPath: string; readonly exportName?: string }
  readonly areas: DiskAreas
  readonly diskKey: string
  /** The session's; the capture fails with `capture-mismatch` if the Hub says otherwise. */
  readonly chunkBytes: number
  readonly target: {
    readonly host: string
    readonly port: number
    /** Pin: SHA-256 of the Hub's certificate, hex, with or without colons. */
    readonly certificateSha256: string
    readonly captureId: string
    readonly ticket: string
  }
  readonly limits?: {
    /** NBD connections; 4 by default. */
    readonly connections?: number
    /** Bytes of chunks held at any time; 96 MiB by default, at least 8 chunks. */
    readonly memoryBytesMax?: number
    /** zstd level 1 to 19; 1 by default. */
    readonly compressionLevel?: number
    /** How long the Hub may be away before the capture gives up; 60 s by default. */
    readonly hubGraceMs?: number
  }
}

/** Logical, changed, read, new and stored bytes are kept apart on purpose: there is no single "speed". */
export interface CaptureDiskCounters {
  /** Size of the disk. */
  readonly logicalBytes: number
  /** Sum of the areas given; for `whole` what the source does not report as a hole. */
  readonly changedBytes: number
  /** What will be read: the areas, widened to whole chunks. 0 until that is known. */
  readonly plannedBytes: number
  readonly readBytes: number
  /** Read, and found to be zero. */
  readonly zeroBytes: number
  /** Chunks that the repository lacked. */
  readonly newBytes: number
  /** The same as sent, after compression. */
  readonly storedBytes: number
}

export interface CaptureDiskReport extends CaptureDiskCounters {
  readonly durationMs: number
}
