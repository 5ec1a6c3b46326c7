import type { MigrationInterface, QueryRunner } from 'typeorm'
import { addColumns, column, requireColumns } from '../platform/database/index.ts'

const nullable = { isNullable: true } as const
const REQUIRED = [column.json('place'), column.json('limits'), column.bool('is_enabled')]
const NO_LIMITS = {
  readBytesPerSecondMax: null,
  writeBytesPerSecondMax: null,
  quotaBytes: null,
  reserveBytes: null,
}

/** Repositories stand in more places than local folders, can be limited, turned off and removed. */
export class RepositoryPlaces1795392000008 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await addColumns(runner, 'repositories', [
      ...REQUIRED.map(one => ({ ...one, ...nullable })),
      column.longText('sealed_secrets', nullable),
      column.json('storage', nullable),
      column.instant('removed_at', nullable),
    ])
    // The query builder knows the tables as they are in the newest version. This text is the same in every database.
    const rows: { id: string; path: string }[] = await runner.query('SELECT id, path FROM repositories')
    for (const { id, path } of rows) {
      const place = JSON.stringify({ type: 'local', path })
      const text = 'UPDATE repositories SET place = ?, limits = ?, is_enabled = ? WHERE id = ?'
      await runner.query(text, [place, JSON.stringify(NO_LIMITS), 1, id])
    }
    await requireColumns(runner, 'repositories', REQUIRED)
    await runner.dropColumn('repositories', 'path')
  }

  async down(runner: QueryRunner): Promise<void> {
    await addColumns(runner, 'repositories', [column.text('path', 1000, nullable)])
    for (const name of [...REQUIRED.map(one => one.name), 'sealed_secrets', 'storage', 'removed_at']) {
      await runner.dropColumn('repositories', name)
    }
  }
}
