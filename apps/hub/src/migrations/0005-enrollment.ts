import type { MigrationInterface, QueryRunner } from 'typeorm'
import { column, createTable } from '../platform/database/index.ts'

export class Enrollment1795392000005 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await createTable(runner, {
      name: 'nodes',
      columns: [
        column.id('id', { isPrimary: true }),
        column.text('name', 100),
        column.text('status', 32),
        column.text('version', 50),
        column.text('signing_key', 64),
        column.text('sealing_key', 64),
        column.text('key_fingerprint', 64),
        column.text('address', 64),
        column.instant('enrolled_at'),
        column.instant('decided_at', { isNullable: true }),
        column.text('decided_by', 100, { isNullable: true }),
        column.text('decision_reason', 500, { isNullable: true }),
        column.instant('last_seen_at', { isNullable: true }),
      ],
    })
    await createTable(runner, {
      name: 'pairing_codes',
      columns: [
        column.id('id', { isPrimary: true }),
        column.text('secret_sha256', 64),
        column.text('created_by', 100),
        column.instant('created_at'),
        column.instant('expires_at'),
        column.instant('used_at', { isNullable: true }),
        column.id('node_id', { isNullable: true }),
      ],
      uniques: [['secret_sha256']],
      foreignKeys: [{ column: 'node_id', table: 'nodes' }],
    })
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.dropTable('pairing_codes')
    await runner.dropTable('nodes')
  }
}
