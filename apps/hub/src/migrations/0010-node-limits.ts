import type { MigrationInterface, QueryRunner } from 'typeorm'
import { addColumns, column } from '../platform/database/index.ts'

/** How fast a Node may send. */
export class NodeLimits1795392000010 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await addColumns(runner, 'nodes', [column.bigInt('bytes_per_second_max', { isNullable: true })])
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.dropColumn('nodes', 'bytes_per_second_max')
  }
}
