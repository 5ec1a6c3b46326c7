import { orAborted } from '../platform/or-aborted.ts'
import type { HubLink } from './hub-link.ts'

/** The link of a Node that was not paired: never up. */
export const NO_HUB_LINK: Pick<HubLink, 'hub' | 'untilUp'> = {
  hub: undefined,
  untilUp: signal => orAborted(Promise.withResolvers<never>().promise, signal),
}
