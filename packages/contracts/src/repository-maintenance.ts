import { z } from 'zod'
import { JobId } from './jobs.ts'
import { Bytes, Instant } from './page.ts'
import { RepositoryId, RepositoryParams } from './repositories.ts'
import { defineRoutes } from './route.ts'

const Count = z.int().nonnegative()

export const StartedRepositoryJob = z
  .object({
    jobId: JobId.meta({ description: 'Follow it with GET /progress/{jobId}' }),
    repositoryId: RepositoryId.meta({ description: 'The repository that the job works on' }),
  })
  .meta({ id: 'StartedRepositoryJob' })
export type StartedRepositoryJob = z.output<typeof StartedRepositoryJob>

export const RepositoryStatistics = z
  .object({
    repositoryId: RepositoryId.meta({ description: 'Id of the repository' }),
    restorePointCount: Count.meta({ description: 'How many restore points it holds' }),
    logicalBytes: Bytes.meta({ description: 'Sum of the disk sizes of all restore points' }),
    uniqueBytes: Bytes.meta({ description: 'Bytes of the distinct chunks, before compression' }),
    storedBytes: Bytes.meta({ description: 'Bytes of the packs' }),
    metadataBytes: Bytes.meta({ description: 'Bytes of index, snapshot files and trees' }),
    unusedBytes: Bytes.nullable().meta({
      description: 'Bytes that no restore point needs; null while unknown',
    }),
    chunkCount: Count.meta({ description: 'Distinct chunks' }),
    packCount: Count.meta({ description: 'Packs' }),
    indexFileCount: Count.meta({ description: 'Index files' }),
    dedupFactor: z
      .number()
      .nullable()
      .meta({ description: 'Logical to unique bytes; null when it is empty' }),
    compressionFactor: z
      .number()
      .nullable()
      .meta({ description: 'Unique to stored bytes; null when it is empty' }),
    measuredAt: Instant.meta({ description: 'When this was counted' }),
  })
  .meta({ id: 'RepositoryStatistics' })

export const VerifyScope = z.enum(['structure', 'sample', 'all']).meta({
  id: 'VerifyScope',
  description:
    '`structure`: packs, index and restore points fit together. `sample`: and a random share of the packs is read. `all`: every byte is',
})

export type VerifyScope = z.output<typeof VerifyScope>

export const VerifyRepositoryRequest = z
  .object({
    scope: VerifyScope.default('sample'),
    samplePercent: z
      .number()
      .min(0.1)
      .max(100)
      .default(5)
      .meta({ description: 'Which share of the packs a sample reads' }),
  })
  .meta({ id: 'VerifyRepositoryRequest' })
export type VerifyRepositoryRequest = z.output<typeof VerifyRepositoryRequest>

export const PruneRepositoryRequest = z
  .object({
    dryRun: z.boolean().default(false).meta({ description: 'Only tell what would be done' }),
    exclusive: z.boolean().default(false).meta({
      description: 'Shut everybody else out and remove at once, without a grace; for a place that is full',
    }),
    graceHours: z
      .number()
      .min(1)
      .max(24 * 90)
      .default(24)
      .meta({ description: 'How long unused packs stay before they are removed' }),
    wasteRatioMax: z
      .number()
      .min(0)
      .max(1)
      .default(0.1)
      .meta({ description: 'Packs whose unused share is larger are packed anew' }),
    repackBytesMax: Bytes.optional().meta({
      description: 'How much is packed anew at most; no limit when absent',
    }),
  })
  .meta({ id: 'PruneRepositoryRequest' })
export type PruneRepositoryRequest = z.output<typeof PruneRepositoryRequest>

export const RepairRepositoryRequest = z
  .object({
    dryRun: z.boolean().default(false).meta({ description: 'Only tell what would be done' }),
    sourceRepositoryId: RepositoryId.optional().meta({
      description: 'Another repository to take missing chunks from, for example one with copies',
    }),
  })
  .meta({ id: 'RepairRepositoryRequest' })
export type RepairRepositoryRequest = z.output<typeof RepairRepositoryRequest>

const KeyId = z.string().regex(/^[0-9a-f]{64}$/, 'must be the id of a key')

export const RepositoryKey = z
  .object({
    id: KeyId.meta({ description: 'Id of the key, as restic shows it' }),
    createdAt: Instant.nullable().meta({ description: 'When it was made; null where it does not say so' }),
    username: z.string().meta({ description: 'Account that made it' }),
    hostname: z.string().meta({ description: 'Machine that it was made on' }),
    isCurrent: z.boolean().meta({ description: 'Whether the Hub opens the repository with it' }),
    isSuperseded: z.boolean().meta({
      description:
        'Whether another one has taken its place: it goes with a prune, or a change of the password, when its protection is over',
    }),
  })
  .meta({ id: 'RepositoryKey' })

const KeptKey = z
  .object({
    id: KeyId.meta({ description: 'Id of the key' }),
    protectedUntil: Instant.nullable().meta({ description: 'Null where the storage does not say it' }),
  })
  .nullable()
  .meta({
    id: 'KeptKey',
    description:
      'The key of the old password, where the storage protects it: the old password opens the repository until it is gone',
  })

export const RepositoryLock = z
  .object({
    id: z.string().meta({ description: 'Id of the lock' }),
    createdAt: Instant.meta({ description: 'When it was last refreshed' }),
    hostname: z.string().meta({ description: 'Machine that holds it' }),
    username: z.string().meta({ description: 'Account that holds it' }),
    pid: z.int().meta({ description: 'Process that holds it' }),
    isExclusive: z.boolean().meta({ description: 'Whether it shuts everybody else out' }),
    isStale: z.boolean().meta({ description: 'Whether its holder is gone' }),
    role: z
      .enum(['write', 'prune', 'foreign'])
      .meta({ description: 'What it is held for; `foreign`: by another program' }),
  })
  .meta({ id: 'RepositoryLock' })

const NewKeyPassword = z
  .string()
  .min(12)
  .max(500)
  .optional()
  .meta({ description: 'The password; made up when absent', writeOnly: true })

const MadePassword = z
  .string()
  .nullable()
  .meta({ description: 'The password that was made up; shown only now' })

export const repositoryMaintenanceRoutes = defineRoutes({
  getRepositoryStatistics: {
    method: 'get',
    path: '/repositories/:repositoryId/statistics',
    summary: 'Count what a repository holds: logical, unique and stored bytes',
    permission: 'repositories:read',
    params: RepositoryParams,
    response: RepositoryStatistics,
    problems: ['not-found', 'repository-disabled', 'repository-unavailable'],
  },
  verifyRepository: {
    method: 'post',
    path: '/repositories/:repositoryId/verify',
    summary: 'Verify a repository: its structure, a sample of its bytes, or all of them',
    permission: 'repositories:maintain',
    status: 202,
    params: RepositoryParams,
    body: VerifyRepositoryRequest,
    response: StartedRepositoryJob,
    problems: ['not-found', 'job-already-running', 'repository-disabled', 'repository-unavailable'],
  },
  pruneRepository: {
    method: 'post',
    path: '/repositories/:repositoryId/prune',
    summary: 'Remove what no restore point needs any more; backups may run meanwhile',
    permission: 'repositories:maintain',
    status: 202,
    params: RepositoryParams,
    body: PruneRepositoryRequest,
    response: StartedRepositoryJob,
    problems: ['not-found', 'job-already-running', 'repository-disabled', 'repository-unavailable'],
  },
  repairRepository: {
    method: 'post',
    path: '/repositories/:repositoryId/repair',
    summary: 'Repair a repository as far as possible; never removes a restore point',
    permission: 'repositories:maintain',
    status: 202,
    params: RepositoryParams,
    body: RepairRepositoryRequest,
    response: StartedRepositoryJob,
    problems: [
      'not-found',
      'conflict',
      'job-already-running',
      'repository-disabled',
      'repository-unavailable',
    ],
  },
  listRepositoryKeys: {
    method: 'get',
    path: '/repositories/:repositoryId/keys',
    summary: 'List the keys that open a repository',
    permission: 'repositories:keys',
    params: RepositoryParams,
    response: z
      .object({ keys: z.array(RepositoryKey).meta({ description: 'Oldest first' }) })
      .meta({ id: 'RepositoryKeys' }),
    problems: ['not-found', 'repository-disabled', 'repository-unavailable'],
  },
  addRepositoryKey: {
    method: 'post',
    path: '/repositories/:repositoryId/keys',
    summary: 'Add a key, such as a recovery key that is kept on paper',
    permission: 'repositories:keys',
    status: 201,
    params: RepositoryParams,
    body: z.object({ password: NewKeyPassword }).meta({ id: 'AddRepositoryKeyRequest' }),
    response: z
      .object({ keyId: KeyId.meta({ description: 'Id of the new key' }), password: MadePassword })
      .meta({ id: 'AddRepositoryKeyResponse' }),
    problems: ['not-found', 'repository-disabled', 'repository-unavailable'],
  },
  removeRepositoryKey: {
    method: 'delete',
    path: '/repositories/:repositoryId/keys/:keyId',
    summary: 'Remove a key; neither the last one nor the one that the Hub uses',
    permission: 'repositories:keys',
    params: RepositoryParams.extend({ keyId: KeyId.meta({ description: 'Id of the key' }) }),
    problems: [
      'not-found',
      'conflict',
      'repository-key-last',
      'repository-disabled',
      'repository-unavailable',
    ],
  },
  changeRepositoryPassword: {
    method: 'post',
    path: '/repositories/:repositoryId/password',
    summary: 'Change the password that the Hub opens a repository with; the old one ends',
    permission: 'repositories:keys',
    params: RepositoryParams,
    body: z.object({ password: NewKeyPassword }).meta({ id: 'ChangeRepositoryPasswordRequest' }),
    response: z
      .object({ password: MadePassword, keptKey: KeptKey })
      .meta({ id: 'ChangeRepositoryPasswordResponse' }),
    problems: ['not-found', 'repository-disabled', 'repository-unavailable'],
  },
  listRepositoryLocks: {
    method: 'get',
    path: '/repositories/:repositoryId/locks',
    summary: 'List the locks on a repository',
    permission: 'repositories:read',
    params: RepositoryParams,
    response: z
      .object({ locks: z.array(RepositoryLock).meta({ description: 'Oldest first' }) })
      .meta({ id: 'RepositoryLocks' }),
    problems: ['not-found', 'repository-disabled', 'repository-unavailable'],
  },
  removeStaleLocks: {
    method: 'post',
    path: '/repositories/:repositoryId/locks/remove-stale',
    summary: 'Remove the locks whose holders are gone',
    permission: 'repositories:maintain',
    params: RepositoryParams,
    response: z
      .object({ removedCount: Count.meta({ description: 'How many were removed' }) })
      .meta({ id: 'RemovedLocks' }),
    problems: ['not-found', 'repository-disabled', 'repository-unavailable'],
  },
})
