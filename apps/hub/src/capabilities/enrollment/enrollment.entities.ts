import { EntitySchema } from 'typeorm'
import { columns } from '../../platform/database/index.ts'
import type { Node, PairingCodeRecord } from './enrollment.store.ts'

const { bigInt, id, instant, named, text } = columns

export const NodeEntity = new EntitySchema<Node>({
  name: 'Node',
  tableName: 'nodes',
  columns: {
    id: id({ primary: true }),
    name: text(100),
    status: text(32),
    version: text(50),
    signingKey: named('signing_key', text(64)),
    sealingKey: named('sealing_key', text(64)),
    keyFingerprint: named('key_fingerprint', text(64)),
    address: text(64),
    enrolledAt: named('enrolled_at', instant()),
    decidedAt: named('decided_at', instant({ nullable: true })),
    decidedBy: named('decided_by', text(100, { nullable: true })),
    decisionReason: named('decision_reason', text(500, { nullable: true })),
    lastSeenAt: named('last_seen_at', instant({ nullable: true })),
    bytesPerSecondMax: named('bytes_per_second_max', bigInt({ nullable: true })),
  },
})

export const PairingCodeEntity = new EntitySchema<PairingCodeRecord>({
  name: 'PairingCode',
  tableName: 'pairing_codes',
  columns: {
    id: id({ primary: true }),
    secretSha256: named('secret_sha256', text(64)),
    createdBy: named('created_by', text(100)),
    createdAt: named('created_at', instant()),
    expiresAt: named('expires_at', instant()),
    usedAt: named('used_at', instant({ nullable: true })),
    nodeId: named('node_id', id({ nullable: true })),
  },
  uniques: [{ columns: ['secretSha256'] }],
  foreignKeys: [
    {
      target: () => NodeEntity,
      columnNames: ['nodeId'],
      referencedColumnNames: ['id'],
      onDelete: 'RESTRICT',
      onUpdate: 'NO ACTION',
    },
  ],
})

export const EnrollmentEntities = [NodeEntity, PairingCodeEntity]
