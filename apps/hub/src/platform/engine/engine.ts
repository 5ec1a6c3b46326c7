import { initRepository, listenDataPlane, openRepository } from '@sendense/engine'

/** What the Hub asks of the engine; tests put a fake in its place. */
export interface Engine {
  initRepository: typeof initRepository
  openRepository: typeof openRepository
  listenDataPlane: typeof listenDataPlane
}

export const nativeEngine: Engine = { initRepository, openRepository, listenDataPlane }
