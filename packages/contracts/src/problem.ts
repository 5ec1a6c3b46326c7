import { z } from 'zod'

/**
 * Every error code that the API, the tunnel, the data plane and failed jobs can answer with.
 * A code never changes its meaning; add a new one instead. Each has a page: `docs/problems/<code>.md`.
 */
export const PROBLEMS = {
  // The request and its sender.
  'request-invalid': { status: 400, title: 'The request is not valid' },
  unauthenticated: { status: 401, title: 'Authentication is required' },
  'credentials-invalid': { status: 401, title: 'The user name or the password is wrong' },
  forbidden: { status: 403, title: 'Not allowed' },
  'password-change-required': { status: 403, title: 'The one-time password must be changed first' },
  'not-found': { status: 404, title: 'No such resource' },
  conflict: { status: 409, title: 'The resource is in a conflicting state' },
  'payload-too-large': { status: 413, title: 'The request body is too large' },
  'too-many-requests': { status: 429, title: 'Too many requests' },
  internal: { status: 500, title: 'Unexpected error' },
  'database-unavailable': { status: 503, title: 'The database of the Hub cannot be used' },

  // Enrollment and the Node.
  'pairing-code-invalid': { status: 401, title: 'The pairing code is not known' },
  'pairing-code-expired': { status: 410, title: 'The pairing code has expired' },
  'pairing-code-used': { status: 409, title: 'The pairing code has been used already' },
  'signature-invalid': { status: 401, title: 'The signature does not match the key' },
  'hub-certificate-mismatch': {
    status: 502,
    title: 'The Hub does not show the certificate of the pairing code',
  },
  'node-not-approved': { status: 403, title: 'The Node waits for approval' },
  'node-rejected': { status: 403, title: 'The Node was rejected' },
  'node-revoked': { status: 403, title: 'The Node was revoked' },
  'node-unreachable': { status: 503, title: 'The Node is not connected or did not answer' },
  'node-lost': { status: 503, title: 'The Node went away during the job' },
  'protocol-mismatch': { status: 409, title: 'Hub and Node do not speak the same protocol version' },

  // vCenter.
  'vcenter-unreachable': { status: 503, title: 'The vCenter did not answer' },
  'vcenter-certificate-mismatch': { status: 502, title: 'The vCenter shows another certificate' },
  'vcenter-credentials-invalid': { status: 422, title: 'The vCenter refused the credentials' },
  'vcenter-permission-missing': { status: 422, title: 'The vCenter account lacks a privilege' },
  'vcenter-busy': { status: 503, title: 'The vCenter is busy with another task on this VM' },
  'vcenter-error': { status: 502, title: 'The vCenter answered with a fault' },
  'vcenter-in-use': { status: 409, title: 'VMs of this vCenter are still in the inventory' },
  'vm-not-found': { status: 404, title: 'The vCenter does not know this VM' },
  'vm-nothing-to-protect': { status: 409, title: 'The VM has no disk that can be backed up' },
  'snapshot-failed': { status: 502, title: 'The vSphere snapshot could not be created' },

  // Reading disks.
  'disk-locked': { status: 409, title: 'The disk is locked by another process' },
  'disk-read-failed': { status: 502, title: 'The disk could not be read' },
  'disk-open-failed': { status: 502, title: 'The disk could not be opened' },
  'vddk-session-limit': { status: 503, title: 'The host allows no more disk connections' },
  'vddk-unavailable': { status: 503, title: 'The VDDK library or the nbdkit plugin is missing' },
  'nbdkit-crashed': { status: 502, title: 'The disk reader ended unexpectedly' },

  // Data plane.
  'ticket-invalid': { status: 401, title: 'The data plane ticket is not valid' },
  'capture-unknown': { status: 404, title: 'No such capture' },
  'capture-mismatch': { status: 409, title: 'Hub and Node do not agree about the capture' },
  'capture-incomplete': { status: 409, title: 'The capture is not complete' },
  'chunk-hash-mismatch': { status: 422, title: 'A chunk does not match its hash' },
  'chunk-malformed': { status: 400, title: 'A chunk frame is malformed' },
  'frame-too-large': { status: 413, title: 'A frame is larger than allowed' },
  'data-plane-unreachable': { status: 503, title: 'The data plane of the Hub did not answer' },

  // Repositories and restore points.
  'repository-exists': { status: 409, title: 'There is a repository already' },
  'repository-not-found': { status: 422, title: 'There is no repository at this place' },
  'repository-password-wrong': { status: 422, title: 'The repository password is wrong' },
  'repository-unsupported': { status: 422, title: 'The repository format is not supported' },
  'repository-unavailable': { status: 503, title: 'The storage of the repository cannot be used' },
  'repository-locked': { status: 409, title: 'Another program holds an exclusive lock on the repository' },
  'repository-damaged': { status: 500, title: 'The repository is damaged' },
  'repository-full': { status: 507, title: 'The repository has no space left' },
  'repository-quota-exceeded': { status: 507, title: 'The repository has reached its quota' },
  'repository-low-space': { status: 507, title: 'The place of the repository is down to its reserve' },
  'repository-not-empty': { status: 409, title: 'There is something else at this place' },
  'repository-in-use': { status: 409, title: 'The repository is in use' },
  'repository-disabled': { status: 409, title: 'The repository is turned off' },
  'repository-key-last': { status: 409, title: 'The last key of a repository cannot be removed' },
  'restore-point-missing': { status: 410, title: 'The restore point is no longer in its repository' },
  'restore-point-damaged': { status: 500, title: 'The restore point is damaged' },
  'restore-point-being-pruned': {
    status: 409,
    title: 'A prune is about to remove what the restore point needs',
  },
  'restore-point-differs': {
    status: 409,
    title: 'The restore point holds the disk in another way than its record says',
  },
  'restore-target-invalid': { status: 400, title: 'The restore target is not allowed' },
  'restore-target-exists': { status: 409, title: 'The restore target exists already' },
  'restore-target-full': { status: 507, title: 'The restore target has no space left' },

  // Places of repositories.
  'storage-unreachable': { status: 503, title: 'The storage did not answer' },
  'storage-credentials-wrong': { status: 422, title: 'The storage refused the credentials' },
  'storage-permission-missing': { status: 422, title: 'The account lacks a right on the storage' },
  'storage-container-missing': { status: 422, title: 'The bucket, container or folder does not exist' },
  'storage-certificate-untrusted': { status: 422, title: 'The certificate of the storage is not trusted' },
  'storage-host-key-mismatch': { status: 422, title: 'The storage shows another host key' },
  'storage-clock-skewed': { status: 422, title: 'The clocks of Hub and storage differ too much' },
  'storage-object-lock-missing': { status: 422, title: 'The bucket has no object lock' },
  'storage-protected': { status: 409, title: 'The storage protects this against removal' },
  'mount-failed': { status: 422, title: 'The share could not be mounted' },

  // Jobs.
  'job-already-running': { status: 409, title: 'The same job is running already' },
  'job-interrupted': { status: 503, title: 'The job was interrupted by a restart' },
  'job-cancelled': { status: 409, title: 'The job was cancelled' },
  'job-timed-out': { status: 504, title: 'The job did not end in time' },
} as const satisfies Record<string, { status: number; title: string }>

export type ProblemCode = keyof typeof PROBLEMS

export const ProblemCode = z
  .enum(Object.keys(PROBLEMS) as [ProblemCode, ...ProblemCode[]])
  .meta({ id: 'ProblemCode', description: 'The code to switch on; its page is /problems/<code>' })

/** The body of every error answer (RFC 9457). */
export const Problem = z
  .object({
    type: z.string().meta({ description: 'URI reference of the page that explains the code' }),
    title: z.string().meta({ description: 'What the code means, the same for every occurrence' }),
    status: z.int().meta({ description: 'The HTTP status' }),
    detail: z.string().optional().meta({ description: 'What happened here, and what to do about it' }),
    instance: z.string().optional().meta({ description: 'Names this occurrence in the log' }),
    code: ProblemCode,
    errors: z
      .array(
        z.object({
          pointer: z.string().meta({ description: 'JSON pointer into { params, query, body }' }),
          detail: z.string().meta({ description: 'What is wrong there' }),
        }),
      )
      .optional()
      .meta({ description: 'What is wrong with the request' }),
  })
  .meta({ id: 'Problem' })
export type Problem = z.output<typeof Problem>

/** Why a job failed, as stored with the job and shown to people. */
export const Failure = z
  .object({
    code: ProblemCode,
    detail: z.string().meta({ description: 'What happened, and what to do about it' }),
  })
  .meta({ id: 'Failure' })
export type Failure = z.output<typeof Failure>
