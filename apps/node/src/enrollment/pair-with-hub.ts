import { challengeMessage } from '@sendense/contracts'
import {
  AppError,
  parsePairingCode,
  pinnedAgent,
  readTlsFingerprint,
  type ShownCertificate,
  sign,
  VERSION,
} from '@sendense/platform'
import { callHub, hubApiAt } from './hub-api.ts'
import type { HubPairing } from './hub-pairing.ts'
import type { NodeIdentity } from './node-identity.ts'

export interface PairingOrder {
  readonly hubUrl: string
  /** As a person typed it. */
  readonly pairingCode: string
  /** Name that the administrator will see. */
  readonly name: string
  readonly identity: NodeIdentity
}

/**
 * Enrolls the Node at a Hub and proves its key (docs/design/enrollment.md). The certificate is compared with the
 * pairing code before anything is sent, and every connection after that insists on it.
 */
export async function pairWithHub(order: PairingOrder): Promise<HubPairing> {
  const { identity, name } = order
  const hubUrl = rootOf(order.hubUrl)
  const code = parsePairingCode(order.pairingCode)
  const certificate = await certificateOfHub(hubUrl, code.certificateSha256Prefix)
  const agent = pinnedAgent({ caPem: certificate.pem })
  const hub = hubApiAt(hubUrl, agent)
  try {
    const { nodeId, challenge } = await callHub(() =>
      hub.enrollment.enroll({
        body: {
          pairingSecret: code.secret,
          name,
          version: VERSION,
          signingKey: identity.signing.publicKey,
          sealingKey: identity.sealing.publicKey,
        },
      }),
    )
    const hubCertificateSha256 = certificate.sha256
    const message = challengeMessage({ purpose: 'enrollment', nodeId, challenge, hubCertificateSha256 })
    const signature = sign(identity.signing.privateKey, message)
    const { status } = await callHub(() =>
      hub.enrollment.verifyEnrollment({ body: { nodeId, challenge, signature } }),
    )
    return { hubUrl, nodeId, status, certificatePem: certificate.pem, certificateSha256: certificate.sha256 }
  } finally {
    agent.destroy()
  }
}

function rootOf(hubUrl: string): string {
  const url = URL.parse(hubUrl)
  if (url?.protocol !== 'https:') {
    throw new AppError('request-invalid', { detail: 'The URL of the Hub must begin with https://' })
  }
  return url.origin
}

/** Nothing is sent before this has succeeded: whoever answers may not be the Hub. */
async function certificateOfHub(hubUrl: string, sha256Prefix: string): Promise<ShownCertificate> {
  const { hostname, port } = new URL(hubUrl)
  const certificate = await readTlsFingerprint(hostname, Number(port || 443)).catch((cause: unknown) => {
    const detail = `The Hub at ${hubUrl} does not answer: ${cause instanceof Error ? cause.message : cause}`
    throw new AppError('node-unreachable', { detail, cause })
  })
  if (certificate.sha256.startsWith(sha256Prefix)) return certificate
  throw new AppError('hub-certificate-mismatch', {
    detail: `${hubUrl} shows a certificate that is not the one of the pairing code. Nothing was sent. Check the URL, and whether somebody is in between`,
  })
}
