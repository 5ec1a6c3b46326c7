import { z } from 'zod'
import { Bytes, Instant, PageQuery, pageOf } from './page.ts'
import { defineRoutes } from './route.ts'

export const RepositoryId = z.uuid().brand<'RepositoryId'>()
export type RepositoryId = z.output<typeof RepositoryId>

const MIB = 1024 * 1024
/** Chunk sizes that a repository may have: powers of two from 512 KiB to 8 MiB. */
export const ChunkBytes = z.literal([MIB / 2, MIB, 2 * MIB, 4 * MIB, 8 * MIB])

export const RepositoryType = z.enum(['local']).meta({ id: 'RepositoryType' })

export const Repository = z
  .object({
    id: RepositoryId.meta({ description: 'Id of the repository' }),
    name: z.string().meta({ description: 'Name for people' }),
    type: RepositoryType.meta({ description: 'Where it is stored' }),
    path: z.string().meta({ description: 'Directory on the Hub' }),
    formatId: z.string().meta({ description: 'Id inside the repository, as restic shows it' }),
    chunkBytes: z.int().meta({ description: 'Size of the chunks that disks are cut into' }),
    createdAt: Instant.meta({ description: 'When it was added' }),
  })
  .meta({ id: 'Repository' })
export type Repository = z.output<typeof Repository>

export const CreateRepositoryRequest = z
  .object({
    name: z.string().trim().min(1).max(100).meta({ description: 'Name for people, unique' }),
    type: RepositoryType.default('local').meta({ description: 'Where it is stored' }),
    path: z.string().startsWith('/').max(1000).meta({ description: 'Absolute directory on the Hub' }),
    chunkBytes: ChunkBytes.default(MIB).meta({ description: 'Size of the chunks that disks are cut into' }),
    password: z.string().min(12).max(500).optional().meta({
      description: 'Password of the repository; made up when absent. Required to add one that exists already',
    }),
    existing: z
      .boolean()
      .default(false)
      .meta({ description: 'Open the repository that is at this place instead of making one' }),
  })
  .meta({ id: 'CreateRepositoryRequest' })

export const CreateRepositoryResponse = z
  .object({
    repository: Repository,
    password: z.string().nullable().meta({
      description:
        'The password that was made up; shown only now. Keep it: with it, restic opens the repository without Sendense',
    }),
  })
  .meta({ id: 'CreateRepositoryResponse' })

export const RepositoryStorage = z
  .object({
    repositoryId: RepositoryId.meta({ description: 'Id of the repository' }),
    totalBytes: Bytes.meta({ description: 'Size of the file system' }),
    freeBytes: Bytes.meta({ description: 'Free there' }),
    usedBytes: Bytes.meta({ description: 'Stored by this repository' }),
    logicalBytes: Bytes.meta({ description: 'Sum of the disk sizes of all its restore points' }),
    restorePointCount: z.int().meta({ description: 'How many restore points it holds' }),
    chunkCount: z.int().meta({ description: 'How many distinct chunks it holds' }),
    checkedAt: Instant.meta({ description: 'When this was measured' }),
  })
  .meta({ id: 'RepositoryStorage' })

const RepositoryParams = z.object({
  repositoryId: RepositoryId.meta({ description: 'Id of the repository' }),
})

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
      'repository-not-found',
      'repository-password-wrong',
      'repository-unsupported',
      'repository-unavailable',
      'repository-full',
    ],
  },
  listRepositories: {
    method: 'get',
    path: '/repositories',
    summary: 'List repositories by name',
    permission: 'repositories:read',
    query: PageQuery.extend({ type: RepositoryType.optional().meta({ description: 'Only of this type' }) }),
    response: pageOf('RepositoryPage', Repository),
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
  getRepositoryStorage: {
    method: 'get',
    path: '/repositories/:repositoryId/storage',
    summary: 'Measure the storage of a repository',
    permission: 'repositories:read',
    params: RepositoryParams,
    response: RepositoryStorage,
    problems: ['not-found', 'repository-unavailable'],
  },
})
