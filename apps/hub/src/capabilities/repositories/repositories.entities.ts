import { EntitySchema } from 'typeorm'
import { bool, id, instant, int, json, longText, named, text } from '../../platform/database/columns.ts'
import type { RepositoryRecord, UnfinishedRepository } from './repositories.store.ts'

export type RepositoryRow = { -readonly [K in keyof RepositoryRecord]: RepositoryRecord[K] }

export const RepositoryEntity = new EntitySchema<RepositoryRow>({
  name: 'Repository',
  tableName: 'repositories',
  columns: {
    id: id({ primary: true }),
    name: text(100, { unique: true }),
    type: text(16),
    place: json(),
    sealedSecrets: named('sealed_secrets', longText({ nullable: true })),
    formatId: named('format_id', text(64, { unique: true })),
    chunkBytes: named('chunk_bytes', int()),
    sealedPassword: named('sealed_password', text(2000)),
    sealedNextPassword: named('sealed_next_password', text(2000, { nullable: true })),
    isEnabled: named('is_enabled', bool()),
    limits: json(),
    storage: json({ nullable: true }),
    removedAt: named('removed_at', instant({ nullable: true })),
    createdAt: named('created_at', instant()),
  },
})

type UnfinishedRepositoryRow = { -readonly [K in keyof UnfinishedRepository]: UnfinishedRepository[K] }

export const UnfinishedRepositoryEntity = new EntitySchema<UnfinishedRepositoryRow>({
  name: 'UnfinishedRepository',
  tableName: 'unfinished_repositories',
  columns: {
    id: id({ primary: true }),
    name: text(100),
    type: text(16),
    place: json(),
    sealedSecrets: named('sealed_secrets', longText({ nullable: true })),
    chunkBytes: named('chunk_bytes', int()),
    sealedPassword: named('sealed_password', text(2000)),
    limits: json(),
    createdAt: named('created_at', instant()),
  },
})

export const RepositoryEntities = [RepositoryEntity, UnfinishedRepositoryEntity]
