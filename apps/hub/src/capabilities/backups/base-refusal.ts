import type { BaseTrouble } from '@sendense/contracts'
import { EngineError, type EngineErrorCode } from '@sendense/engine'

/** What it says of an earlier restore point that the engine does not take it as a base. */
export interface BaseRefusal {
  /** Why the whole disk is read. */
  readonly code: BaseTrouble
  /** Whether some of its content is lost, so that nobody can rely on it. If not, it is as good to restore as before. */
  readonly isDamaged: boolean
}

const REFUSALS: Partial<Record<EngineErrorCode, BaseRefusal>> = {
  // Its own file, its directories or its chunks cannot be read: the engine looks at nothing else of the repository here.
  'repository-damaged': { code: 'restore-point-damaged', isDamaged: true },
  'restore-point-damaged': { code: 'restore-point-damaged', isDamaged: true },
  'restore-point-missing': { code: 'restore-point-missing', isDamaged: false },
  // All of it can be read, and a new restore point must not need it: the next prune takes the marks back.
  'restore-point-being-pruned': { code: 'restore-point-being-pruned', isDamaged: false },
  // All of it can be read, and does not fit the disk, though its record does.
  'base-disk-missing': { code: 'restore-point-differs', isDamaged: false },
  'base-size-differs': { code: 'restore-point-differs', isDamaged: false },
  'base-chunk-size-differs': { code: 'restore-point-differs', isDamaged: false },
}

/** Why the engine refused the base of a disk; `undefined` when it failed for another reason, and no other base helps. */
export function baseRefusalOf(error: unknown): BaseRefusal | undefined {
  return error instanceof EngineError ? REFUSALS[error.code] : undefined
}
