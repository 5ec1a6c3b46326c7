import type { MigrationInterface, QueryRunner } from 'typeorm'
import { column, createTable } from '../platform/database/index.ts'

export class Auth1795392000002 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await createTable(runner, {
      name: 'users',
      columns: [
        column.id('id', { isPrimary: true }),
        column.text('username', 100),
        column.text('role', 16),
        column.text('password_hash', 255),
        column.bool('must_change_password'),
        column.instant('created_at'),
        column.instant('password_changed_at', { isNullable: true }),
      ],
      uniques: [['username']],
    })
    await createTable(runner, {
      name: 'sessions',
      columns: [
        column.id('id', { isPrimary: true }),
        column.text('token_sha256', 64),
        column.id('subject_id'),
        column.text('subject_name', 100),
        column.text('role', 16),
        column.instant('created_at'),
        column.instant('expires_at'),
      ],
      uniques: [['token_sha256']],
      indices: [{ name: 'ix_sessions_subject', columnNames: ['subject_id'] }],
    })
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.dropTable('sessions')
    await runner.dropTable('users')
  }
}
