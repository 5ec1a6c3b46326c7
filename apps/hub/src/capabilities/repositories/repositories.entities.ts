import { EntitySchema } from 'typeorm'
import { id, instant, int, named, text } from '../../platform/database/columns.ts'
import type { RepositoryRecord } from './repositories.store.ts'

export type RepositoryRow = { -readonly [K in keyof RepositoryRecord]: RepositoryRecord[K] }

export const RepositoryEntity = new EntitySchema<RepositoryRow>({
  name: 'Repository',
  tableName: 'repositories',
  columns: {
    id: id({ primary: true }),
    name: text(100, { unique: true }),
    type: text(16),
    path: text(1000),
    formatId: named('format_id', text(64, { unique: true })),
    chunkBytes: named('chunk_bytes', int()),
    sealedPassword: named('sealed_password', text(2000)),
    createdAt: named('created_at', instant()),
  },
})

export const RepositoryEntities = [RepositoryEntity]
