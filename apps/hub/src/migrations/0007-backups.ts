import type { MigrationInterface, QueryRunner } from 'typeorm'
import { column, createTable } from '../platform/database/index.ts'

export class Backups1795392000007 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await createTable(runner, {
      name: 'backups',
      columns: [
        column.id('id', { isPrimary: true }),
        column.id('job_id'),
        column.id('vm_id'),
        column.text('vm_name', 255),
        column.id('repository_id'),
        column.id('node_id'),
        column.text('status', 16),
        column.text('restore_point_id', 64, { isNullable: true }),
        column.id('base_backup_id', { isNullable: true }),
        column.int('chunk_bytes'),
        column.text('mode', 16, { isNullable: true }),
        column.instant('captured_at', { isNullable: true }),
        column.bool('is_quiesced'),
        column.instant('started_at'),
        column.instant('finished_at', { isNullable: true }),
        column.json('skipped_disks'),
        column.json('reasons'),
        column.json('bytes'),
        column.json('failure', { isNullable: true }),
        column.instant('verified_at', { isNullable: true }),
        column.json('tags'),
      ],
      indices: [
        { name: 'ix_backups_vm', columnNames: ['vm_id', 'repository_id', 'status'] },
        { name: 'ix_backups_job', columnNames: ['job_id'] },
      ],
      foreignKeys: [
        { column: 'vm_id', table: 'vms' },
        { column: 'repository_id', table: 'repositories' },
        { column: 'node_id', table: 'nodes' },
      ],
    })
    await createTable(runner, {
      name: 'backup_disks',
      columns: [
        column.id('backup_id', { isPrimary: true }),
        column.int('disk_key', { isPrimary: true }),
        column.text('label', 190),
        column.text('file', 190),
        column.bigInt('size_bytes'),
        column.text('uuid', 64, { isNullable: true }),
        column.text('mode', 16),
        column.json('reasons'),
        column.text('change_id', 190, { isNullable: true }),
        column.bigInt('logical_bytes'),
        column.bigInt('changed_bytes'),
        column.bigInt('read_bytes'),
        column.bigInt('new_bytes'),
        column.bigInt('stored_bytes'),
      ],
      foreignKeys: [{ column: 'backup_id', table: 'backups' }],
    })
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.dropTable('backup_disks')
    await runner.dropTable('backups')
  }
}
