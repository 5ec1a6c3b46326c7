import { z } from 'zod'
import { NodeId, NodeStatus } from '../enrollment.ts'
import { healthRoutes } from '../health.ts'
import { DiscoveredVm, Thumbprint } from '../inventory.ts'
import { JobId } from '../jobs.ts'
import { defineRoutes } from '../route.ts'
import { CaptureState } from './tunnel.ts'

export const EnrollmentView = z
  .object({
    nodeId: NodeId.nullable().meta({ description: 'Id at the Hub; null before pairing' }),
    status: z
      .union([NodeStatus, z.literal('not-paired')])
      .meta({ description: 'Where the Node stands in its enrollment' }),
    hubUrl: z.string().nullable().meta({ description: 'The Hub it is paired with' }),
    keyFingerprint: z
      .string()
      .nullable()
      .meta({ description: 'SHA-256 of its signing key, for comparing on both sides' }),
    isConnected: z.boolean().meta({ description: 'Whether the tunnel is up now' }),
  })
  .meta({ id: 'Enrollment' })
export type EnrollmentView = z.output<typeof EnrollmentView>

export const nodeLocalRoutes = defineRoutes({
  getEnrollment: {
    method: 'get',
    path: '/enrollment',
    summary: 'Tell where the Node stands in its enrollment',
    permission: 'nodes:read',
    response: EnrollmentView,
  },
  discoverVms: {
    method: 'post',
    path: '/discovery/discover-vms',
    summary: 'List the VMs of a vCenter with the credentials given; nothing is kept',
    permission: 'inventory:write',
    body: z
      .object({
        host: z.string().min(1).max(255).meta({ description: 'Host name or address of the vCenter' }),
        port: z.int().min(1).max(65_535).default(443).meta({ description: 'HTTPS port' }),
        username: z.string().min(1).meta({ description: 'Account to log in with' }),
        password: z.string().min(1).meta({ description: 'Password of the account' }),
        thumbprint: Thumbprint.optional().meta({ description: 'Fingerprint that the certificate must have' }),
        nameContains: z
          .string()
          .max(100)
          .optional()
          .meta({ description: 'Only VMs whose name contains this' }),
      })
      .meta({ id: 'NodeDiscoverVmsRequest' }),
    response: z
      .object({ vms: z.array(DiscoveredVm).meta({ description: 'What was found, by name' }) })
      .meta({ id: 'NodeDiscoverVmsResponse' }),
    problems: [
      'vcenter-unreachable',
      'vcenter-certificate-mismatch',
      'vcenter-credentials-invalid',
      'vcenter-permission-missing',
      'vcenter-error',
    ],
  },
  getProgress: {
    method: 'get',
    path: '/progress/:jobId',
    summary: 'Tell where a capture stands',
    permission: 'jobs:read',
    params: z.object({ jobId: JobId.meta({ description: 'Id of the job at the Hub' }) }),
    response: CaptureState.meta({ id: 'CaptureState' }),
    problems: ['not-found'],
  },
})

/** The API of the Node, served on loopback only. */
export const nodeApi = { health: healthRoutes, node: nodeLocalRoutes }
export type NodeApi = typeof nodeApi
