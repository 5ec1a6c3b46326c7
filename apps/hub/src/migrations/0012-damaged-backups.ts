import type { MigrationInterface, QueryRunner } from 'typeorm'
import { addColumns, column } from '../platform/database/index.ts'

/** When a restore point was found that cannot be read completely. */
export class DamagedBackups1795392000012 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await addColumns(runner, 'backups', [column.instant('damaged_at', { isNullable: true })])
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.dropColumn('backups', 'damaged_at')
  }
}
