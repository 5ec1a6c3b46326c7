/**
 * The only door to the native engine: repositories, the data plane, captures and restores.
 * JavaScript holds handles, extents and counters; no block of a disk ever enters the V8 heap.
 */
export { captureDisk } from './capture-disk.ts'
export { diskFileName } from './capture-session.ts'
export { listenDataPlane } from './data-plane.ts'
export { EngineError, type EngineErrorCode } from './engine-error.ts'
export { createRateLimit } from './rate-limit.ts'
export { initRepository, openRepository, probePlace, removeRestoreLeftovers } from './repository.ts'
export type * from './types.ts'
