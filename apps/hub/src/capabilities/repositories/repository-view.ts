import type { Repository as RepositoryView } from '@sendense/contracts'
import type { RepositoryRecord } from './repositories.store.ts'

/** A repository as the API shows it: field by field, so that no secret can slip in. */
export function viewOf(record: RepositoryRecord): RepositoryView {
  const { id, name, type, place, formatId, chunkBytes, isEnabled, limits, storage, createdAt } = record
  return {
    ...{ id, name, type, place, formatId, chunkBytes, isEnabled, limits, storage },
    createdAt: createdAt.toISOString(),
  }
}
