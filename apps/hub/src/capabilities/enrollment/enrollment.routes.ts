import { enrollmentRoutes } from '@sendense/contracts'
import { type Authenticate, bindRoutes } from '@sendense/platform'
import type { Router } from 'express'
import type { EnrollmentService } from './enrollment.service.ts'

/** Binds pairing, approval and tokens of Nodes. */
export function mountEnrollment(
  router: Router,
  enrollment: EnrollmentService,
  authenticate: Authenticate,
): void {
  bindRoutes(
    router,
    enrollmentRoutes,
    {
      createPairingCode: ({ body }, { principal }) =>
        enrollment.createPairingCode(principal, body.validForSeconds),
      enroll: ({ body }, { remoteAddress }) => enrollment.enroll(body, remoteAddress),
      verifyEnrollment: ({ body }) => enrollment.verify(body),
      createNodeChallenge: ({ body }) => enrollment.createChallenge(body.nodeId),
      createNodeToken: ({ body }) => enrollment.createToken(body),
      listNodes: ({ query }) => enrollment.list(query),
      getNode: ({ params }) => enrollment.get(params.nodeId),
      updateNode: ({ params, body }, { principal }) => enrollment.update(principal, params.nodeId, body),
      approveNode: ({ params }, { principal }) => enrollment.approve(principal, params.nodeId),
      rejectNode: ({ params, body }, { principal }) =>
        enrollment.reject(principal, params.nodeId, body.reason),
      revokeNode: ({ params, body }, { principal }) =>
        enrollment.revoke(principal, params.nodeId, body.reason),
    },
    { authenticate },
  )
}
