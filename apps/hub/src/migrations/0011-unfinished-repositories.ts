import type { MigrationInterface, QueryRunner } from 'typeorm'
import { column, createTable } from '../platform/database/index.ts'

/** Repositories that are being made: their passwords are kept before there is anything that only they open. */
export class UnfinishedRepositories1795392000011 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await createTable(runner, {
      name: 'unfinished_repositories',
      columns: [
        column.id('id', { isPrimary: true }),
        column.text('name', 100),
        column.text('type', 16),
        column.json('place'),
        column.longText('sealed_secrets', { isNullable: true }),
        column.int('chunk_bytes'),
        column.text('sealed_password', 2000),
        column.json('limits'),
        column.instant('created_at'),
      ],
    })
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.dropTable('unfinished_repositories')
  }
}
