import { callNative } from './engine-error.ts'
import type { NativeCaptureSession } from './native-module.ts'
import type { CaptureSession } from './types.ts'

/** A session over the native module. */
export function captureSession(native: NativeCaptureSession): CaptureSession {
  return {
    id: native.id,
    ticket: native.ticket,
    get isOpen() {
      return native.isOpen
    },
    beginDisk: disk => callNative(() => native.beginDisk({ ...disk })),
    dropDisk: diskKey => callNative(async () => native.dropDisk(diskKey)),
    counters: () => native.counters(),
    commit: ({ time, tags, files, ...rest }) =>
      callNative(() =>
        native.commit({ ...rest, timeMs: time.getTime(), tags: [...tags], files: [...files] }),
      ),
    abort: () => callNative(() => native.abort()),
    [Symbol.asyncDispose]: () => callNative(() => native.abort()),
  }
}

/** The file of a disk in a restore point: `disk-2000.raw`. */
export function diskFileName(diskKey: string): string {
  return `disk-${diskKey}.raw`
}
