import {
  createRateLimit,
  initRepository,
  listenDataPlane,
  openRepository,
  probePlace,
  removeRestoreLeftovers,
} from '@sendense/engine'

/** What the Hub asks of the engine; tests put a fake in its place. */
export interface Engine {
  initRepository: typeof initRepository
  openRepository: typeof openRepository
  probePlace: typeof probePlace
  removeRestoreLeftovers: typeof removeRestoreLeftovers
  listenDataPlane: typeof listenDataPlane
  createRateLimit: typeof createRateLimit
}

export const nativeEngine: Engine = {
  initRepository,
  openRepository,
  probePlace,
  removeRestoreLeftovers,
  listenDataPlane,
  createRateLimit,
}
