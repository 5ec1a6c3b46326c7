import type { MigrationInterface, QueryRunner } from 'typeorm'
import { column, createTable } from '../platform/database/index.ts'

export class Platform1795392000001 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await createTable(runner, {
      name: 'settings',
      columns: [column.text('name', 100, { isPrimary: true }), column.longText('value')],
    })
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.dropTable('settings')
  }
}
