import type { MigrationInterface, QueryRunner } from 'typeorm'
import { column, createTable } from '../platform/database/index.ts'

export class Jobs1795392000003 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await createTable(runner, {
      name: 'jobs',
      columns: [
        column.id('id', { isPrimary: true }),
        column.text('kind', 32),
        column.text('subject', 255),
        column.id('subject_id'),
        column.text('state', 16),
        column.text('lock_key', 190, { isNullable: true }),
        column.json('input'),
        column.json('disks'),
        column.json('failure', { isNullable: true }),
        column.json('result', { isNullable: true }),
        column.instant('created_at'),
        column.instant('started_at', { isNullable: true }),
        column.instant('finished_at', { isNullable: true }),
        column.instant('deadline_at', { isNullable: true }),
        column.instant('heartbeat_at', { isNullable: true }),
        column.id('lease_owner', { isNullable: true }),
        column.instant('lease_expires_at', { isNullable: true }),
      ],
      uniques: [['lock_key']],
      indices: [
        { name: 'ix_jobs_state', columnNames: ['state'] },
        { name: 'ix_jobs_subject', columnNames: ['subject_id'] },
      ],
    })
    await createTable(runner, {
      name: 'job_steps',
      columns: [
        column.id('job_id', { isPrimary: true }),
        column.int('position', { isPrimary: true }),
        column.text('name', 64),
        column.text('title', 190),
        column.text('state', 16),
        column.instant('started_at', { isNullable: true }),
        column.instant('finished_at', { isNullable: true }),
      ],
      foreignKeys: [{ column: 'job_id', table: 'jobs' }],
    })
    await createTable(runner, {
      name: 'job_events',
      columns: [
        column.id('id', { isPrimary: true }),
        column.id('job_id'),
        column.instant('at'),
        column.text('level', 8),
        column.longText('message'),
      ],
      indices: [{ name: 'ix_job_events_job', columnNames: ['job_id'] }],
      foreignKeys: [{ column: 'job_id', table: 'jobs' }],
    })
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.dropTable('job_events')
    await runner.dropTable('job_steps')
    await runner.dropTable('jobs')
  }
}
