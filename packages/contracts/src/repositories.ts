import { z } from 'zod'
import { Bytes, Instant, PageQuery, pageOf } from './page.ts'
import { Failure, type ProblemCode } from './problem.ts'
import {
  NewRepositoryPlace,
  ObjectLock,
  RepositoryCredentials,
  RepositoryPlace,
  RepositoryType,
} from './repository-place.ts'
import { defineRoutes } from './route.ts'

export const RepositoryId = z.uuid().brand<'RepositoryId'>()
export type RepositoryId = z.output<typeof RepositoryId>

const MIB = 1024 * 1024
/** Chunk sizes that a repository may have: powers of two from 128 KiB to 8 MiB. */
export const ChunkBytes = z.literal([MIB / 8, MIB / 4, MIB / 2, MIB, 2 * MIB, 4 * MIB, 8 * MIB])

const Rate = z.int().min(64 * 1024)
const LIMITS = {
  readBytesPerSecondMax: Rate.nullable().meta({ description: 'How fast the Hub reads from it at most' }),
  writeBytesPerSecondMax: Rate.nullable().meta({ description: 'How fast the Hub writes to it at most' }),
  quotaBytes: Bytes.nullable().meta({
    description: 'How much the repository may hold; a backup ends before the file that would exceed it',
  }),
  reserveBytes: Bytes.nullable().meta({
    description: 'How much must stay free at its place; a backup ends before the file that would need it',
  }),
}
/** Null where nothing is limited. */
export const RepositoryLimits = z.object(LIMITS).meta({ id: 'RepositoryLimits' })
export type RepositoryLimits = z.output<typeof RepositoryLimits>

/** Nothing is limited. */
export const NO_LIMITS: RepositoryLimits = {
  readBytesPerSecondMax: null,
  writeBytesPerSecondMax: null,
  quotaBytes: null,
  reserveBytes: null,
}

export const RepositorySpace = z.enum(['ok', 'low', 'full']).meta({
  id: 'RepositorySpace',
  description:
    '`low`: less than a tenth is left of the place or of the quota. `full`: quota or reserve are reached',
})
export type RepositorySpace = z.output<typeof RepositorySpace>

export const RepositoryStorage = z
  .object({
    repositoryId: RepositoryId.meta({ description: 'Id of the repository' }),
    totalBytes: Bytes.nullable().meta({
      description: 'Size of the place; null where it has none, as object storage',
    }),
    freeBytes: Bytes.nullable().meta({ description: 'Free there; null where nothing says so' }),
    usedBytes: Bytes.meta({ description: 'Stored by this repository' }),
    logicalBytes: Bytes.meta({ description: 'Sum of the disk sizes of all its restore points' }),
    restorePointCount: z.int().meta({ description: 'How many restore points it holds' }),
    chunkCount: z.int().meta({ description: 'How many distinct chunks it holds' }),
    space: RepositorySpace.meta({ description: 'Whether there is room for more' }),
    checkedAt: Instant.meta({ description: 'When this was measured' }),
  })
  .meta({ id: 'RepositoryStorage' })
export type RepositoryStorage = z.output<typeof RepositoryStorage>

export const Repository = z
  .object({
    id: RepositoryId.meta({ description: 'Id of the repository' }),
    name: z.string().meta({ description: 'Name for people' }),
    type: RepositoryType.meta({ description: 'What kind of place holds it' }),
    place: RepositoryPlace.meta({ description: 'Where it is' }),
    formatId: z.string().meta({ description: 'Id inside the repository, as restic shows it' }),
    chunkBytes: z.int().meta({ description: 'Size of the chunks that disks are cut into' }),
    isEnabled: z.boolean().meta({ description: 'Whether backups may go there, and whether it is kept open' }),
    limits: RepositoryLimits.meta({ description: 'What is limited' }),
    storage: RepositoryStorage.nullable().meta({ description: 'What it held when it was last measured' }),
    createdAt: Instant.meta({ description: 'When it was added' }),
  })
  .meta({ id: 'Repository' })
export type Repository = z.output<typeof Repository>

const Name = z.string().trim().min(1).max(100).meta({ description: 'Name for people, unique' })
const ChangedLimits = z
  .object(LIMITS)
  .partial()
  .meta({ id: 'ChangedRepositoryLimits', description: 'Absent: as it was. Null: no limit' })

export const CreateRepositoryRequest = z
  .object({
    name: Name,
    place: NewRepositoryPlace.meta({ description: 'Where it is to be' }),
    chunkBytes: ChunkBytes.optional().meta({
      description:
        'Size of the chunks that disks are cut into; larger ones for disks of more than a million chunks. Absent: 256 KiB, or what it was when the Hub had the repository before',
    }),
    limits: ChangedLimits.default({}).meta({ description: 'What is limited' }),
    password: z.string().min(1).max(500).optional().meta({
      description:
        'Password of the repository: of 12 characters or more, made up when absent. Required, as it is, to add one that exists already',
      writeOnly: true,
    }),
    existing: z
      .boolean()
      .default(false)
      .meta({ description: 'Open the repository that is at this place instead of making one' }),
  })
  .meta({ id: 'CreateRepositoryRequest' })
export type CreateRepositoryRequest = z.output<typeof CreateRepositoryRequest>

export const CreateRepositoryResponse = z
  .object({
    repository: Repository,
    password: z.string().nullable().meta({
      description:
        'The password that was made up; shown only now. Keep it: with it, restic opens the repository without Sendense',
    }),
  })
  .meta({ id: 'CreateRepositoryResponse' })

export const UpdateRepositoryRequest = z
  .object({
    name: Name.optional(),
    isEnabled: z.boolean().optional().meta({ description: 'Whether backups may go there' }),
    limits: ChangedLimits.optional().meta({ description: 'What is limited' }),
    credentials: RepositoryCredentials.optional().meta({
      description: 'New secrets; the repository is opened with them before they are kept',
    }),
  })
  .meta({ id: 'UpdateRepositoryRequest' })
export type UpdateRepositoryRequest = z.output<typeof UpdateRepositoryRequest>

/** What a place says about itself when it is tried out. */
export const RepositoryTest = z
  .object({
    isRepository: z.boolean().meta({ description: 'Whether there is a repository already' }),
    isEmpty: z.boolean().meta({ description: 'Whether there is nothing at all' }),
    totalBytes: Bytes.nullable().meta({ description: 'Size of the place' }),
    freeBytes: Bytes.nullable().meta({ description: 'Free there' }),
    latencyMs: z.number().nonnegative().meta({ description: 'How long a small file took to be written' }),
    isDurable: z.boolean().meta({
      description:
        'Whether the place can be told to make a file durable; where it cannot, a power failure there may take the last backups',
    }),
    clockSkewMs: z
      .number()
      .nullable()
      .meta({ description: 'How far the clock of the place is ahead of the one of the Hub' }),
    objectLock: z
      .object({
        enabled: z.boolean().meta({ description: 'Whether the bucket can protect files' }),
        mode: ObjectLock.shape.mode.nullable().meta({ description: 'How it protects new files by itself' }),
        days: z.int().nullable().meta({ description: 'For how long it protects new files by itself' }),
      })
      .nullable()
      .meta({ description: 'Protection against removal; null where there is no such thing' }),
  })
  .meta({ id: 'RepositoryTest' })

export const TestRepositoryRequest = z
  .object({ place: NewRepositoryPlace.meta({ description: 'The place to try out' }) })
  .meta({ id: 'TestRepositoryRequest' })

export const StorageRefresh = z
  .object({
    results: z
      .array(
        z.object({
          repositoryId: RepositoryId.meta({ description: 'Id of the repository' }),
          storage: RepositoryStorage.nullable().meta({ description: 'What was measured' }),
          failure: Failure.nullable().meta({ description: 'Why it could not be measured' }),
        }),
      )
      .meta({ description: 'One a repository, by name; those that are disabled are left out' }),
  })
  .meta({ id: 'StorageRefresh' })

export const StorageSummary = z
  .object({
    repositoryCount: z.int().meta({ description: 'How many repositories there are' }),
    unavailableCount: z.int().meta({ description: 'How many of them are enabled and not open' }),
    totalBytes: Bytes.meta({ description: 'Sum of the sizes of the places that have one' }),
    freeBytes: Bytes.meta({ description: 'Sum of what is free there' }),
    usedBytes: Bytes.meta({ description: 'Stored by all repositories' }),
    logicalBytes: Bytes.meta({ description: 'Sum of the disk sizes of all restore points' }),
    restorePointCount: z.int().meta({ description: 'How many restore points there are' }),
    short: z
      .array(
        z.object({
          repositoryId: RepositoryId.meta({ description: 'Id of the repository' }),
          name: z.string().meta({ description: 'Its name' }),
          space: RepositorySpace.meta({ description: 'How short it is' }),
          freeBytes: Bytes.nullable().meta({ description: 'What may still be stored there' }),
        }),
      )
      .meta({ description: 'Repositories that are short of space' }),
    oldestCheckAt: Instant.nullable().meta({ description: 'When the oldest of these numbers was measured' }),
  })
  .meta({ id: 'StorageSummary' })

export const RepositoryParams = z.object({
  repositoryId: RepositoryId.meta({ description: 'Id of the repository' }),
})

/** What can be wrong with a place, found before any job starts. */
export const PLACE_PROBLEMS = [
  'storage-unreachable',
  'storage-credentials-wrong',
  'storage-permission-missing',
  'storage-container-missing',
  'storage-certificate-untrusted',
  'storage-host-key-mismatch',
  'storage-clock-skewed',
  'storage-object-lock-missing',
  'mount-failed',
  'repository-unavailable',
] as const satisfies readonly ProblemCode[]

export const repositoryRoutes = defineRoutes({
  createRepository: {
    method: 'post',
    path: '/repositories',
    summary: 'Make a repository, or add an existing one',
    permission: 'repositories:write',
    status: 201,
    body: CreateRepositoryRequest,
    response: CreateRepositoryResponse,
    problems: [
      'conflict',
      'repository-exists',
      'repository-not-empty',
      'repository-not-found',
      'repository-password-wrong',
      'repository-unsupported',
      'repository-full',
      ...PLACE_PROBLEMS,
    ],
  },
  testRepositoryPlace: {
    method: 'post',
    path: '/repositories/test',
    summary: 'Try a place out: write, read, list and remove a small file',
    permission: 'repositories:write',
    body: TestRepositoryRequest,
    response: RepositoryTest,
    problems: PLACE_PROBLEMS,
  },
  listRepositories: {
    method: 'get',
    path: '/repositories',
    summary: 'List repositories by name',
    permission: 'repositories:read',
    query: PageQuery.extend({ type: RepositoryType.optional().meta({ description: 'Only of this type' }) }),
    response: pageOf('RepositoryPage', Repository),
  },
  getStorageSummary: {
    method: 'get',
    path: '/repositories/storage-summary',
    summary: 'Add up what all repositories hold, and tell which are short of space',
    permission: 'repositories:read',
    response: StorageSummary,
  },
  refreshAllStorage: {
    method: 'post',
    path: '/repositories/refresh-storage',
    summary: 'Measure the storage of all repositories',
    permission: 'repositories:maintain',
    response: StorageRefresh,
  },
  getRepository: {
    method: 'get',
    path: '/repositories/:repositoryId',
    summary: 'Get one repository',
    permission: 'repositories:read',
    params: RepositoryParams,
    response: Repository,
    problems: ['not-found'],
  },
  updateRepository: {
    method: 'patch',
    path: '/repositories/:repositoryId',
    summary: 'Change the name, the limits or the credentials of a repository, or turn it off and on',
    permission: 'repositories:write',
    params: RepositoryParams,
    body: UpdateRepositoryRequest,
    response: Repository,
    problems: ['not-found', 'conflict', 'repository-in-use', 'repository-password-wrong', ...PLACE_PROBLEMS],
  },
  deleteRepository: {
    method: 'delete',
    path: '/repositories/:repositoryId',
    summary:
      'Remove a repository from the Hub, also one whose making was interrupted; nothing at its place is touched',
    permission: 'repositories:delete',
    params: RepositoryParams,
    query: z.object({
      detach: z
        .enum(['true', 'false'])
        .default('false')
        .transform(text => text === 'true')
        .meta({
          description:
            'Also when it holds restore points or cannot be reached. Added again as an existing one it knows its backups',
        }),
    }),
    problems: ['not-found', 'repository-in-use', 'repository-unavailable'],
  },
  testRepository: {
    method: 'post',
    path: '/repositories/:repositoryId/test',
    summary: 'Try the place of a repository out, with the credentials that are kept',
    permission: 'repositories:maintain',
    params: RepositoryParams,
    response: RepositoryTest,
    problems: ['not-found', ...PLACE_PROBLEMS],
  },
  getRepositoryStorage: {
    method: 'get',
    path: '/repositories/:repositoryId/storage',
    summary: 'Measure the storage of a repository',
    permission: 'repositories:read',
    params: RepositoryParams,
    response: RepositoryStorage,
    problems: ['not-found', 'repository-disabled', 'repository-unavailable'],
  },
  refreshStorage: {
    method: 'post',
    path: '/repositories/:repositoryId/refresh-storage',
    summary: 'Measure the storage of a repository now, and keep the numbers',
    permission: 'repositories:maintain',
    params: RepositoryParams,
    response: RepositoryStorage,
    problems: ['not-found', 'repository-disabled', 'repository-unavailable'],
  },
})
