import type { MigrationInterface, QueryRunner } from 'typeorm'
import { addColumns, column } from '../platform/database/index.ts'

const nullable = { isNullable: true } as const

/** A backup can be a copy of another one; the password of a repository can be changed without a moment of neither. */
export class CopiesAndPasswords1795392000009 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await addColumns(runner, 'repositories', [column.text('sealed_next_password', 2000, nullable)])
    await addColumns(runner, 'backups', [column.id('copy_of', nullable)])
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.dropColumn('backups', 'copy_of')
    await runner.dropColumn('repositories', 'sealed_next_password')
  }
}
