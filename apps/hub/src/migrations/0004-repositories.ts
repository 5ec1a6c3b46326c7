import type { MigrationInterface, QueryRunner } from 'typeorm'
import { column, createTable } from '../platform/database/index.ts'

export class Repositories1795392000004 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await createTable(runner, {
      name: 'repositories',
      columns: [
        column.id('id', { isPrimary: true }),
        column.text('name', 100),
        column.text('type', 16),
        column.text('path', 1000),
        column.text('format_id', 64),
        column.int('chunk_bytes'),
        column.text('sealed_password', 2000),
        column.instant('created_at'),
      ],
      uniques: [['name'], ['format_id']],
    })
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.dropTable('repositories')
  }
}
