import { AuthEntities } from './capabilities/auth/auth.entities.ts'
import { BackupEntities } from './capabilities/backups/backups.entities.ts'
import { EnrollmentEntities } from './capabilities/enrollment/enrollment.entities.ts'
import { InventoryEntities } from './capabilities/inventory/inventory.entities.ts'
import { JobEntities } from './capabilities/jobs/jobs.entities.ts'
import { RepositoryEntities } from './capabilities/repositories/repositories.entities.ts'
import { VcenterEntities } from './capabilities/vcenters/vcenters.entities.ts'
import { Platform1795392000001 } from './migrations/0001-platform.ts'
import { Auth1795392000002 } from './migrations/0002-auth.ts'
import { Jobs1795392000003 } from './migrations/0003-jobs.ts'
import { Repositories1795392000004 } from './migrations/0004-repositories.ts'
import { Enrollment1795392000005 } from './migrations/0005-enrollment.ts'
import { Inventory1795392000006 } from './migrations/0006-inventory.ts'
import { Backups1795392000007 } from './migrations/0007-backups.ts'
import { RepositoryPlaces1795392000008 } from './migrations/0008-repository-places.ts'
import { CopiesAndPasswords1795392000009 } from './migrations/0009-copies-and-passwords.ts'
import { NodeLimits1795392000010 } from './migrations/0010-node-limits.ts'
import { UnfinishedRepositories1795392000011 } from './migrations/0011-unfinished-repositories.ts'
import { DamagedBackups1795392000012 } from './migrations/0012-damaged-backups.ts'
import { type Schema, SettingsEntity } from './platform/database/index.ts'

/** All tables, and the way to them. A capability adds its entities and its migration here. */
export const SCHEMA: Schema = {
  entities: [
    SettingsEntity,
    ...AuthEntities,
    ...JobEntities,
    ...RepositoryEntities,
    ...EnrollmentEntities,
    ...VcenterEntities,
    ...InventoryEntities,
    ...BackupEntities,
  ],
  migrations: [
    Platform1795392000001,
    Auth1795392000002,
    Jobs1795392000003,
    Repositories1795392000004,
    Enrollment1795392000005,
    Inventory1795392000006,
    Backups1795392000007,
    RepositoryPlaces1795392000008,
    CopiesAndPasswords1795392000009,
    NodeLimits1795392000010,
    UnfinishedRepositories1795392000011,
    DamagedBackups1795392000012,
  ],
}
