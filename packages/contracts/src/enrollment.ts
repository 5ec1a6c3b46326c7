import { z } from 'zod'
import { Instant, PageQuery, pageOf } from './page.ts'
import { defineRoutes } from './route.ts'

export const NodeId = z.uuid().brand<'NodeId'>()
export type NodeId = z.output<typeof NodeId>

/** 32 bytes in base64url without padding. */
const Base64Url32 = z.string().regex(/^[\w-]{43}$/, 'must be 32 bytes in base64url')

export const NodeStatus = z
  .enum(['pending-verification', 'awaiting-approval', 'approved', 'rejected', 'revoked'])
  .meta({ id: 'NodeStatus' })
export type NodeStatus = z.output<typeof NodeStatus>

/** The least lets one chunk of the largest size through in two minutes. */
const NodeRate = z
  .int()
  .min(64 * 1024)
  .nullable()
  .meta({
    description:
      'How fast all its backups together may send at most, in bytes per second; no limit when null',
  })

export const NodeView = z
  .object({
    id: NodeId.meta({ description: 'Id of the Node' }),
    name: z.string().meta({ description: 'Name that the Node gave itself' }),
    status: NodeStatus.meta({ description: 'Where the Node stands in its enrollment' }),
    isConnected: z.boolean().meta({ description: 'Whether its tunnel is up now' }),
    version: z.string().meta({ description: 'Version of the Node at its last contact' }),
    keyFingerprint: z
      .string()
      .meta({ description: 'SHA-256 of its signing key, for comparing on both sides' }),
    address: z.string().meta({ description: 'Address that its enrollment came from' }),
    enrolledAt: Instant.meta({ description: 'When it first asked' }),
    decidedAt: Instant.nullable().meta({ description: 'When it was approved, rejected or revoked' }),
    decidedBy: z.string().nullable().meta({ description: 'Who approved, rejected or revoked it' }),
    decisionReason: z.string().nullable().meta({ description: 'Why it was rejected or revoked' }),
    lastSeenAt: Instant.nullable().meta({ description: 'Last sign of life over its tunnel' }),
    bytesPerSecondMax: NodeRate,
  })
  .meta({ id: 'Node' })
export type NodeView = z.output<typeof NodeView>

export const PairingCode = z
  .object({
    pairingCode: z.string().meta({
      description: 'One-time code with the fingerprint of the Hub certificate inside; shown only now',
    }),
    expiresAt: Instant.meta({ description: 'When the code ends' }),
  })
  .meta({ id: 'PairingCode' })
export type PairingCode = z.output<typeof PairingCode>

export const EnrollRequest = z
  .object({
    pairingSecret: z.string().min(8).max(64).meta({ description: 'The secret part of the pairing code' }),
    name: z.string().trim().min(1).max(100).meta({ description: 'Name of the Node' }),
    version: z.string().max(50).meta({ description: 'Version of the Node' }),
    signingKey: Base64Url32.meta({ description: 'Ed25519 public key, raw, base64url' }),
    sealingKey: Base64Url32.meta({
      description: 'X25519 public key that secrets are sealed to, raw, base64url',
    }),
  })
  .meta({ id: 'EnrollRequest' })
export const EnrollResponse = z
  .object({
    nodeId: NodeId.meta({ description: 'Id of the new Node' }),
    challenge: Base64Url32.meta({
      description: 'Sign it (see docs/design/enrollment.md) and send it to verify',
    }),
    status: NodeStatus,
  })
  .meta({ id: 'EnrollResponse' })

const SignedChallenge = {
  nodeId: NodeId.meta({ description: 'Id of the Node' }),
  challenge: Base64Url32.meta({ description: 'The challenge as received' }),
  signature: z
    .string()
    .regex(/^[\w-]{86}$/, 'must be 64 bytes in base64url')
    .meta({ description: 'Ed25519 signature over the challenge message, base64url' }),
}
export const VerifyEnrollmentRequest = z.object(SignedChallenge).meta({ id: 'VerifyEnrollmentRequest' })
export const VerifyEnrollmentResponse = z
  .object({ status: NodeStatus })
  .meta({ id: 'VerifyEnrollmentResponse' })

export const NodeChallengeRequest = z
  .object({ nodeId: NodeId.meta({ description: 'Id of the Node' }) })
  .meta({ id: 'NodeChallengeRequest' })
export const NodeChallenge = z
  .object({
    challenge: Base64Url32.meta({ description: 'Valid once, for a minute' }),
    expiresAt: Instant.meta({ description: 'When the challenge ends' }),
  })
  .meta({ id: 'NodeChallenge' })
export const NodeTokenRequest = z.object(SignedChallenge).meta({ id: 'NodeTokenRequest' })
export const NodeToken = z
  .object({
    token: z.string().meta({ description: 'Bearer token for the tunnel' }),
    expiresAt: Instant.meta({ description: 'When the token ends' }),
  })
  .meta({ id: 'NodeToken' })

export const UpdateNodeRequest = z.object({ bytesPerSecondMax: NodeRate }).meta({ id: 'UpdateNodeRequest' })
export type UpdateNodeRequest = z.output<typeof UpdateNodeRequest>

const NodeParams = z.object({ nodeId: NodeId.meta({ description: 'Id of the Node' }) })
const DecisionReason = z.object({
  reason: z.string().trim().min(1).max(500).meta({ description: 'Why; kept with the Node' }),
})

export const enrollmentRoutes = defineRoutes({
  createPairingCode: {
    method: 'post',
    path: '/enrollment/pairing-codes',
    summary: 'Create a one-time pairing code',
    permission: 'enrollment:write',
    status: 201,
    body: z
      .object({
        validForSeconds: z
          .int()
          .min(1)
          .max(3600)
          .default(600)
          .meta({ description: 'How long the code is valid' }),
      })
      .meta({ id: 'CreatePairingCodeRequest' }),
    response: PairingCode,
  },
  enroll: {
    method: 'post',
    path: '/enrollment/enroll',
    summary: 'Enroll a Node with a pairing code',
    permission: 'public',
    status: 201,
    body: EnrollRequest,
    response: EnrollResponse,
    problems: ['pairing-code-invalid', 'pairing-code-expired', 'pairing-code-used', 'too-many-requests'],
  },
  verifyEnrollment: {
    method: 'post',
    path: '/enrollment/verify',
    summary: 'Prove that the Node holds the key it enrolled with',
    permission: 'public',
    body: VerifyEnrollmentRequest,
    response: VerifyEnrollmentResponse,
    problems: ['not-found', 'signature-invalid', 'conflict', 'too-many-requests'],
  },
  createNodeChallenge: {
    method: 'post',
    path: '/enrollment/challenges',
    summary: 'Get a challenge to sign for an access token',
    permission: 'public',
    status: 201,
    body: NodeChallengeRequest,
    response: NodeChallenge,
    problems: ['not-found', 'too-many-requests'],
  },
  createNodeToken: {
    method: 'post',
    path: '/enrollment/tokens',
    summary: 'Exchange a signed challenge for a short-lived access token',
    permission: 'public',
    status: 201,
    body: NodeTokenRequest,
    response: NodeToken,
    problems: [
      'not-found',
      'signature-invalid',
      'node-not-approved',
      'node-rejected',
      'node-revoked',
      'too-many-requests',
    ],
  },
  listNodes: {
    method: 'get',
    path: '/nodes',
    summary: 'List Nodes, newest first',
    permission: 'nodes:read',
    query: PageQuery.extend({
      status: NodeStatus.optional().meta({ description: 'Only Nodes in this status' }),
    }),
    response: pageOf('NodePage', NodeView),
  },
  getNode: {
    method: 'get',
    path: '/nodes/:nodeId',
    summary: 'Get one Node',
    permission: 'nodes:read',
    params: NodeParams,
    response: NodeView,
    problems: ['not-found'],
  },
  updateNode: {
    method: 'patch',
    path: '/nodes/:nodeId',
    summary: 'Limit how fast a Node sends, from now on and for the backups that run',
    permission: 'nodes:write',
    params: NodeParams,
    body: UpdateNodeRequest,
    response: NodeView,
    problems: ['not-found', 'conflict'],
  },
  approveNode: {
    method: 'post',
    path: '/nodes/:nodeId/approve',
    summary: 'Approve a Node that has proven its key',
    permission: 'enrollment:write',
    params: NodeParams,
    response: NodeView,
    problems: ['not-found', 'conflict'],
  },
  rejectNode: {
    method: 'post',
    path: '/nodes/:nodeId/reject',
    summary: 'Reject a Node that waits for approval',
    permission: 'enrollment:write',
    params: NodeParams,
    body: DecisionReason.meta({ id: 'RejectNodeRequest' }),
    response: NodeView,
    problems: ['not-found', 'conflict'],
  },
  revokeNode: {
    method: 'post',
    path: '/nodes/:nodeId/revoke',
    summary: 'Revoke a Node: its tunnel and its data streams are cut at once',
    permission: 'enrollment:write',
    params: NodeParams,
    body: DecisionReason.meta({ id: 'RevokeNodeRequest' }),
    response: NodeView,
    problems: ['not-found', 'conflict'],
  },
})

/**
 * What a Node signs. The purpose keeps a signature from being used elsewhere, the Hub's certificate
 * keeps it from being relayed through somebody in the middle.
 */
export function challengeMessage(input: {
  purpose: 'enrollment' | 'token'
  nodeId: string
  challenge: string
  /** SHA-256 of the Hub's certificate in lower-case hex, as the Node sees it. */
  hubCertificateSha256: string
}): string {
  return ['sendense-v1', input.purpose, input.nodeId, input.challenge, input.hubCertificateSha256].join('\n')
}
