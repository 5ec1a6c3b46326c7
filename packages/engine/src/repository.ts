import { captureSession } from './capture-session.ts'
import { nativeDataPlane } from './data-plane.ts'
import { callNative, EngineError } from './engine-error.ts'
import {
  loadNativeModule,
  type NativeKeptKey,
  type NativeKey,
  type NativeLock,
  type NativeProtection,
  type NativePruneBlocked,
  type NativeRepository,
  type NativeRestorePoint,
  type NativeStatistics,
} from './native-module.ts'
import { nativeRateLimit } from './rate-limit.ts'
import { runJob } from './run-job.ts'
import type {
  BeginCaptureOptions,
  CaptureSession,
  JobOptions,
  KeptKey,
  PlaceProbe,
  PruneBlocked,
  PruneCounters,
  PruneOptions,
  PruneReport,
  Repository,
  RepositoryKey,
  RepositoryLocation,
  RepositoryLock,
  RepositoryPlace,
  RepositoryStatistics,
  RestorePointInfo,
  RestorePointProtection,
} from './types.ts'

/** Makes a new repository in a place that is empty or absent. */
export async function initRepository(location: RepositoryLocation): Promise<Repository> {
  return repository(await callNative(() => loadNativeModule().initRepository({ ...location })))
}

/** Opens the repository in a place. */
export async function openRepository(location: RepositoryLocation): Promise<Repository> {
  return repository(await callNative(() => loadNativeModule().openRepository({ ...location })))
}

/** Tries a place out, whether or not there is a repository. Fails with what does not work there. */
export async function probePlace(place: RepositoryPlace): Promise<PlaceProbe> {
  return callNative(() => loadNativeModule().probePlace({ ...place }))
}

/**
 * Removes what restores to a file have left beside it whose process was killed. Restores that run are left alone. Fails with
 * `restore-target-invalid` when that cannot be done.
 */
export async function removeRestoreLeftovers(targetPath: string): Promise<void> {
  return callNative(() => loadNativeModule().removeRestoreLeftovers(targetPath))
}

/** The native side of every repository that is handed out: another one may be copied to, or repaired from, it. */
const natives = new WeakMap<Repository, NativeRepository>()

function repository(native: NativeRepository): Repository {
  const repository: Repository = {
    id: native.id,
    restorePoints: () => callNative(async () => (await native.restorePoints()).map(toRestorePointInfo)),
    restorePointIds: () => callNative(() => native.restorePointIds()),
    readText: (restorePointId, path) => callNative(() => native.readText(restorePointId, path)),
    forget: restorePointId => callNative(() => native.forget(restorePointId)),
    storage: () => callNative(() => native.storage()),
    beginCapture: options => beginCapture(native, options),
    verify: (restorePointId, options) => runJob(() => native.verify(restorePointId), options),
    check: ({ readData = false, samplePercent, ...options } = {}) =>
      runJob(() => native.check(readData, samplePercent), options),
    prune: options => prune(native, options),
    copyTo: (target, { restorePointIds, ...options }) =>
      runJob(() => native.copyTo(nativeOf(target), [...restorePointIds]), options),
    repair: ({ dryRun = false, source, ...options } = {}) =>
      runJob(() => (source ? native.repairFrom(nativeOf(source), dryRun) : native.repair(dryRun)), options),
    statistics: () => callNative(async () => toStatistics(await native.statistics())),
    keys: () => callNative(async () => (await native.keys()).map(toKey)),
    addKey: password => callNative(() => native.addKey(password)),
    removeKey: id => callNative(() => native.removeKey(id)),
    changePassword: newPassword =>
      callNative(async () => toKeptKey(await native.changePassword(newPassword))),
    locks: () => callNative(async () => (await native.locks()).map(toLock)),
    removeStaleLocks: () => callNative(() => native.removeStaleLocks()),
    protection: restorePointId =>
      callNative(async () => toProtection(await native.protection(restorePointId))),
    restoreDisk: (disk, options) => runJob(() => native.restoreDisk({ ...disk }), options),
    adoptOrphans: () => callNative(() => native.adoptOrphans()),
    close: () => callNative(() => native.close()),
    [Symbol.asyncDispose]: () => callNative(() => native.close()),
  }
  natives.set(repository, native)
  return repository
}

function nativeOf(repository: Repository): NativeRepository {
  const native = natives.get(repository)
  if (!native) throw new EngineError('request-invalid', 'The repository must come from openRepository()')
  return native
}

async function prune(
  native: NativeRepository,
  { signal, onProgress, ...options }: PruneOptions & JobOptions<PruneCounters>,
): Promise<PruneReport> {
  const jobOptions = { ...(signal && { signal }), ...(onProgress && { onProgress }) }
  const { blocked, ...report } = await runJob(() => native.prune(options), jobOptions)
  return { ...report, blocked: blocked.map(toBlocked) }
}

function toBlocked({ untilMs, hostname, pid, ...rest }: NativePruneBlocked): PruneBlocked {
  const until = untilMs === undefined ? null : new Date(untilMs)
  return { ...rest, until, hostname: hostname ?? null, pid: pid ?? null }
}

function toStatistics({ unusedBytes, ...rest }: NativeStatistics): RepositoryStatistics {
  return { ...rest, unusedBytes: unusedBytes ?? null }
}

function toKey({ createdAtMs, ...rest }: NativeKey): RepositoryKey {
  return { ...rest, createdAt: createdAtMs === undefined ? null : new Date(createdAtMs) }
}

function toKeptKey(key: NativeKeptKey | null): KeptKey | null {
  return key && { id: key.id, until: key.untilMs === undefined ? null : new Date(key.untilMs) }
}

function toLock({ createdAtMs, ...rest }: NativeLock): RepositoryLock {
  return { ...rest, createdAt: new Date(createdAtMs) }
}

function toProtection(protection: NativeProtection | null): RestorePointProtection | null {
  return protection && { mode: protection.mode, until: new Date(protection.untilMs) }
}

async function beginCapture(
  native: NativeRepository,
  { dataPlane, rateLimits = [], ...options }: BeginCaptureOptions,
): Promise<CaptureSession> {
  const listener = nativeDataPlane(dataPlane)
  if (!listener) throw new EngineError('request-invalid', 'The data plane must come from listenDataPlane()')
  const limits = rateLimits.map(nativeRateLimit)
  return captureSession(await callNative(() => native.beginCapture(listener, limits, { ...options })))
}

function toRestorePointInfo({ timeMs, ...rest }: NativeRestorePoint): RestorePointInfo {
  return { ...rest, time: new Date(timeMs) }
}
