import type { MigrationInterface, QueryRunner } from 'typeorm'
import { column, createTable } from '../platform/database/index.ts'

export class Inventory1795392000006 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await createTable(runner, {
      name: 'vcenters',
      columns: [
        column.id('id', { isPrimary: true }),
        column.text('name', 100),
        column.id('node_id'),
        column.text('host', 255),
        column.int('port'),
        column.text('username', 200),
        column.text('thumbprint', 64),
        column.longText('sealed_credentials'),
        column.text('instance_uuid', 64),
        column.text('version', 50),
        column.instant('created_at'),
      ],
      uniques: [['name']],
      foreignKeys: [{ column: 'node_id', table: 'nodes' }],
    })
    await createTable(runner, {
      name: 'vms',
      columns: [
        column.id('id', { isPrimary: true }),
        column.id('vcenter_id'),
        column.text('instance_uuid', 100),
        column.text('mo_ref', 100),
        column.text('name', 255),
        column.text('search_name', 255),
        column.text('sort_key', 190),
        column.text('power_state', 16),
        column.json('description'),
        column.instant('added_at'),
        column.instant('refreshed_at'),
      ],
      uniques: [['vcenter_id', 'instance_uuid'], ['sort_key']],
      foreignKeys: [{ column: 'vcenter_id', table: 'vcenters' }],
    })
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.dropTable('vms')
    await runner.dropTable('vcenters')
  }
}
