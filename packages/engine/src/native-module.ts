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
  DataPlaneOptions,
  DiskAreas,
  Extent,
  PlaceProbe,
  RepositoryLocation,
  RepositoryPlace,
  RepositoryStorage,
  RestoreCounters,
  RestoreDiskOptions,
  RestorePointInfo,
  RestoreReport,
  VerifyCounters,
  VerifyReport,
} from './types.ts'

/** What `crates/engine-napi` exports. Times cross as milliseconds since 1970, sizes as whole numbers. */
export interface NativeModule {
  initRepository(location: RepositoryLocation): Promise<NativeRepository>
  openRepository(location: RepositoryLocation): Promise<NativeRepository>
  probePlace(place: RepositoryPlace): Promise<PlaceProbe>
  listenDataPlane(options: DataPlaneOptions): Promise<NativeDataPlane>
  captureDisk(options: NativeCaptureDiskOptions): NativeJob<NativeCaptureDiskReport, CaptureDiskCounters>
}

export interface NativeDataPlane {
  readonly port: number
  readonly certificateSha256: string
  close(): Promise<void>
}

export interface NativeRepository {
  readonly id: string
  restorePoints(): Promise<NativeRestorePoint[]>
  readText(restorePointId: string, path: string): Promise<string>
  forget(restorePointId: string): Promise<void>
  storage(): Promise<RepositoryStorage>
  beginCapture(
    dataPlane: NativeDataPlane,
    options: Omit<BeginCaptureOptions, 'dataPlane'>,
  ): Promise<NativeCaptureSession>
  verify(restorePointId: string): NativeJob<VerifyReport, VerifyCounters>
  check(readData: boolean): NativeJob<CheckReport, VerifyCounters>
  restoreDisk(disk: RestoreDiskOptions): NativeJob<RestoreReport, RestoreCounters>
  adoptOrphans(): Promise<AdoptReport>
  close(): Promise<void>
}

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
