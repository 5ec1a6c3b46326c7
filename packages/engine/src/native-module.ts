import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { EngineError } from './engine-error.ts'
import type { NativeJob } from './run-job.ts'
import type {
  AdoptReport,
  BeginCaptureOptions,
  CaptureDiskCounters,
  CaptureDiskOptions,
  CaptureSessionCounters,
  CaptureSessionDisk,
  CheckReport,
  CommitOptions,
  CommitReport,
  CopyCounters,
  CopyReport,
  DataPlaneOptions,
  DiskAreas,
  Extent,
  KeptKey,
  PlaceProbe,
  PruneBlocked,
  PruneCounters,
  PruneOptions,
  PruneReport,
  RepairReport,
  RepositoryKey,
  RepositoryLocation,
  RepositoryLock,
  RepositoryPlace,
  RepositoryStatistics,
  RepositoryStorage,
  RestoreCounters,
  RestoreDiskOptions,
  RestorePointInfo,
  RestorePointProtection,
  RestoreReport,
  VerifyCounters,
  VerifyReport,
} from './types.ts'

/** What `crates/engine-napi` exports. Times cross as milliseconds since 1970, sizes as whole numbers. */
export interface NativeModule {
  initRepository(location: RepositoryLocation): Promise<NativeRepository>
  openRepository(location: RepositoryLocation): Promise<NativeRepository>
  probePlace(place: RepositoryPlace): Promise<PlaceProbe>
  removeRestoreLeftovers(targetPath: string): Promise<void>
  createRateLimit(bytesPerSecond: number | null): NativeRateLimit
  listenDataPlane(options: DataPlaneOptions): Promise<NativeDataPlane>
  captureDisk(options: NativeCaptureDiskOptions): NativeJob<NativeCaptureDiskReport, CaptureDiskCounters>
}

export interface NativeDataPlane {
  readonly port: number
  readonly certificateSha256: string
  close(): Promise<void>
}

export interface NativeRateLimit {
  setRate(bytesPerSecond: number | null): void
}

export interface NativeRepository {
  readonly id: string
  restorePoints(): Promise<NativeRestorePoint[]>
  restorePointIds(): Promise<string[]>
  readText(restorePointId: string, path: string): Promise<string>
  forget(restorePointId: string): Promise<void>
  storage(): Promise<RepositoryStorage>
  beginCapture(
    dataPlane: NativeDataPlane,
    rateLimits: NativeRateLimit[],
    options: Omit<BeginCaptureOptions, 'dataPlane' | 'rateLimits'>,
  ): Promise<NativeCaptureSession>
  verify(restorePointId: string): NativeJob<VerifyReport, VerifyCounters>
  check(readData: boolean, samplePercent?: number): NativeJob<CheckReport, VerifyCounters>
  prune(options: PruneOptions): NativeJob<NativePruneReport, PruneCounters>
  copyTo(target: NativeRepository, restorePointIds: string[]): NativeJob<CopyReport, CopyCounters>
  repair(dryRun: boolean): NativeJob<RepairReport, VerifyCounters>
  repairFrom(source: NativeRepository, dryRun: boolean): NativeJob<RepairReport, VerifyCounters>
  statistics(): Promise<NativeStatistics>
  keys(): Promise<NativeKey[]>
  addKey(password: string): Promise<string>
  removeKey(id: string): Promise<void>
  changePassword(password: string): Promise<NativeKeptKey | null>
  locks(): Promise<NativeLock[]>
  removeStaleLocks(): Promise<number>
  protection(restorePointId: string): Promise<NativeProtection | null>
  restoreDisk(disk: RestoreDiskOptions): NativeJob<RestoreReport, RestoreCounters>
  adoptOrphans(): Promise<AdoptReport>
  close(): Promise<void>
}

/** What is absent in Rust is absent here too, where our types say null. */
export type NativePruneReport = Omit<PruneReport, 'blocked'> & { readonly blocked: NativePruneBlocked[] }
export type NativePruneBlocked = Pick<PruneBlocked, 'by' | 'packs' | 'bytes'> & {
  readonly untilMs?: number
  readonly hostname?: string
  readonly pid?: number
}
export type NativeStatistics = Omit<RepositoryStatistics, 'unusedBytes'> & { readonly unusedBytes?: number }
export type NativeKey = Omit<RepositoryKey, 'createdAt'> & { readonly createdAtMs?: number }
export type NativeKeptKey = Omit<KeptKey, 'until'> & { readonly untilMs?: number }
export type NativeLock = Omit<RepositoryLock, 'createdAt'> & { readonly createdAtMs: number }
export type NativeProtection = Omit<RestorePointProtection, 'until'> & { readonly untilMs: number }

export type NativeRestorePoint = Omit<RestorePointInfo, 'time'> & { readonly timeMs: number }

export interface NativeCaptureSession {
  readonly id: string
  readonly ticket: string
  readonly isOpen: boolean
  beginDisk(disk: CaptureSessionDisk): Promise<void>
  dropDisk(diskKey: string): void
  counters(): CaptureSessionCounters
  commit(options: Omit<CommitOptions, 'time'> & { timeMs: number }): Promise<CommitReport>
  abort(): Promise<void>
}

export type NativeCaptureDiskOptions = Omit<CaptureDiskOptions, 'areas' | 'limits'> & {
  readonly areas: DiskAreas['kind']
  readonly extents: Extent[]
  readonly limits: NonNullable<CaptureDiskOptions['limits']>
}

export interface NativeCaptureDiskReport {
  readonly counters: CaptureDiskCounters
  readonly durationMs: number
}

let loaded: NativeModule | undefined

/** Loads the native module at its first use, so that importing types and errors needs no build. */
export function loadNativeModule(): NativeModule {
  loaded ??= requireNativeModule()
  return loaded
}

function requireNativeModule(): NativeModule {
  const path = process.env.SENDENSE_ENGINE ?? fileURLToPath(new URL('../native/engine.node', import.meta.url))
  try {
    return createRequire(import.meta.url)(path) as NativeModule
  } catch (cause) {
    const detail = `The native engine cannot be loaded from ${path}. Build it with: make engine`
    throw new EngineError('engine-missing', detail, { cause })
  }
}
