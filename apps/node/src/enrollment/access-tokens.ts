import type { Client } from '@sendense/client'
import { challengeMessage } from '@sendense/contracts'
import { type Clock, sign } from '@sendense/platform'
import { callHub } from './hub-api.ts'
import type { HubPairing } from './hub-pairing.ts'
import type { NodeIdentity } from './node-identity.ts'

/** A token is renewed when it has less than this left. */
const RENEW_BEFORE_END_MS = 60_000

export interface AccessTokensDeps {
  readonly hub: Pick<Client, 'enrollment'>
  readonly pairing: HubPairing
  readonly identity: NodeIdentity
  readonly clock: Clock
}

/** Short-lived tokens for the tunnel, each for a challenge that this Node signed. */
export class AccessTokens {
  readonly #deps: AccessTokensDeps
  #current: { token: string; endsAtMs: number } | undefined

  constructor(deps: AccessTokensDeps) {
    this.#deps = deps
  }

  /** A token that is good for a while. Fails with `node-not-approved` until an administrator has approved the Node. */
  async get(signal: AbortSignal): Promise<string> {
    const nowMs = this.#deps.clock.now().getTime()
    if (!this.#current || this.#current.endsAtMs - nowMs < RENEW_BEFORE_END_MS) {
      this.#current = await this.#request(signal)
    }
    return this.#current.token
  }

  /** The Hub did not accept the token: the next one will be new. */
  forget(): void {
    this.#current = undefined
  }

  async #request(signal: AbortSignal): Promise<{ token: string; endsAtMs: number }> {
    const { hub, pairing, identity } = this.#deps
    const { nodeId, certificateSha256: hubCertificateSha256 } = pairing
    const { challenge } = await callHub(() =>
      hub.enrollment.createNodeChallenge({ body: { nodeId } }, { signal }),
    )
    const message = challengeMessage({ purpose: 'token', nodeId, challenge, hubCertificateSha256 })
    const signature = sign(identity.signing.privateKey, message)
    const { token, expiresAt } = await callHub(() =>
      hub.enrollment.createNodeToken({ body: { nodeId, challenge, signature } }, { signal }),
    )
    return { token, endsAtMs: Date.parse(expiresAt) }
  }
}
