import type { JobId, ProblemCode } from '@sendense/contracts'
import { AppError, type Clock, type Logger } from '@sendense/platform'
import type { HubCalls } from '../hub-link/hub-calls.ts'
import type { LedgerRecord } from '../ledger/ledger.ts'
import type { CaptureEntry, CaptureOutcome } from '../ledger/ledger-entry.ts'
import { Backoff } from '../platform/backoff.ts'

/** Answers after which saying it again would change nothing. */
const FINAL_ANSWERS: readonly ProblemCode[] = [
  'capture-unknown',
  'conflict',
  'forbidden',
  'not-found',
  'protocol-mismatch',
  'request-invalid',
]

/**
 * Brings the last word on each capture to the Hub. It is in the ledger before it is sent and until it has arrived,
 * so neither a lost link nor a restart of the Node can swallow it.
 */
export class OutcomeDelivery {
  readonly #hub: HubCalls
  readonly #clock: Clock
  readonly #log: Logger

  constructor({ hub, clock, log }: { hub: HubCalls; clock: Clock; log: Logger }) {
    this.#hub = hub
    this.#clock = clock
    this.#log = log
  }

  /** Resolves when the Hub has it. Rejects with the signal's reason; then the next start of the Node goes on. */
  async deliver(
    record: LedgerRecord<CaptureEntry>,
    outcome: CaptureOutcome,
    signal: AbortSignal,
  ): Promise<void> {
    await record.update({ ...record.entry, outcome }).catch((error: unknown) => {
      // The Hub shall hear it even when our own disk is full; only a restart would lose it now.
      this.#log.error('The outcome of a capture could not be written down', { error })
    })
    const backoff = new Backoff({ firstMs: 1000, longestMs: 60_000 })
    while (!(await this.#isHeard(record.entry.jobId, outcome, signal))) {
      await this.#clock.sleep(backoff.nextMs(), signal)
    }
    await record.close()
  }

  async #isHeard(jobId: JobId, outcome: CaptureOutcome, signal: AbortSignal): Promise<boolean> {
    try {
      await this.#hub.ask(hub => hub.finishCapture({ jobId, ...outcome }), signal)
      return true
    } catch (error) {
      if (signal.aborted) throw error
      const { code } = AppError.from(error)
      this.#log.warn('The Hub did not take the outcome of a capture', { jobId, error })
      return FINAL_ANSWERS.includes(code)
    }
  }
}
