import { captureSession } from './capture-session.ts'
import { nativeDataPlane } from './data-plane.ts'
import { callNative, EngineError } from './engine-error.ts'
import { loadNativeModule, type NativeRepository, type NativeRestorePoint } from './native-module.ts'
import { runJob } from './run-job.ts'
import type {
  BeginCaptureOptions,
  CaptureSession,
  PlaceProbe,
  Repository,
  RepositoryLocation,
  RepositoryPlace,
  RestorePointInfo,
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

function repository(native: NativeRepository): Repository {
  return {
    id: native.id,
    restorePoints: () => callNative(async () => (await native.restorePoints()).map(toRestorePointInfo)),
    readText: (restorePointId, path) => callNative(() => native.readText(restorePointId, path)),
    forget: restorePointId => callNative(() => native.forget(restorePointId)),
    storage: () => callNative(() => native.storage()),
    beginCapture: options => beginCapture(native, options),
    verify: (restorePointId, options) => runJob(() => native.verify(restorePointId), options),
    check: ({ readData = false, ...options } = {}) => runJob(() => native.check(readData), options),
    restoreDisk: (disk, options) => runJob(() => native.restoreDisk({ ...disk }), options),
    adoptOrphans: () => callNative(() => native.adoptOrphans()),
    close: () => callNative(() => native.close()),
    [Symbol.asyncDispose]: () => callNative(() => native.close()),
  }
}

async function beginCapture(
  native: NativeRepository,
  { dataPlane, ...options }: BeginCaptureOptions,
): Promise<CaptureSession> {
  const listener = nativeDataPlane(dataPlane)
  if (!listener) throw new EngineError('request-invalid', 'The data plane must come from listenDataPlane()')
  return captureSession(await callNative(() => native.beginCapture(listener, { ...options })))
}

function toRestorePointInfo({ timeMs, ...rest }: NativeRestorePoint): RestorePointInfo {
  return { ...rest, time: new Date(timeMs) }
}
