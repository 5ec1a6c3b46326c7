import type { DiskProgress, Progress } from '@sendense/contracts'
import { AppError, type Clock, type Logger } from '@sendense/platform'
import { isFinished, type Job, type JobStep, type JobsStore, type StepState } from './jobs.store.ts'
import { toProgress, workOf } from './progress-view.ts'
import { RateWindow } from './rate-window.ts'

/** Counters are saved no more often than this. */
const SAVE_INTERVAL_MS = 1000

interface Options {
  store: JobsStore
  clock: Clock
  log: Logger
}

/** A job that this process runs: what is in memory is the truth, and the store follows. */
export class LiveJob {
  /** Aborted when the job shall end before its work is done. */
  readonly stop = new AbortController()
  readonly #options: Options
  readonly #rate = new RateWindow()
  readonly #left = new AbortController()
  #job: Job
  #version = 0
  readonly #watchers = new Set<() => void>()
  #lastSave: Promise<void> = Promise.resolve()
  #isSaveDue = false
  #isEnding = false

  constructor(job: Job, options: Options) {
    this.#job = job
    this.#options = options
  }

  get job(): Job {
    return this.#job
  }

  get progress(): Progress {
    return toProgress(this.#job, this.#rate.bytesPerSecond(this.#nowMs()))
  }

  /** True from the moment that the end is being stored: nothing may change any more. */
  get isEnding(): boolean {
    return this.#isEnding
  }

  /** Notes a lease that was stored already, so that later saves do not take it back. */
  noteLease(lease: Pick<Job, 'heartbeatAt' | 'leaseExpiresAt'>): void {
    this.#job = { ...this.#job, ...lease }
  }

  /** Changes the job for everybody who watches, and resolves when that is stored. */
  async change(change: Partial<Job>): Promise<void> {
    if (this.#isEnding) return
    this.#publish(change)
    await this.#save(this.#job)
  }

  /** Ends the job. Stored first: who is told that a job has ended can rely on it. */
  async end(change: Partial<Job>): Promise<void> {
    this.#isEnding = true
    await this.#save({ ...this.#job, ...change })
    this.#publish(change)
  }

  /** Notes the state of a step. The first begin and the last end count. */
  async setStep(name: string, state: StepState): Promise<void> {
    const now = this.#options.clock.now()
    const steps = this.#job.steps.map(step => (step.name === name ? advanced(step, state, now) : step))
    if (!steps.some(step => step.name === name))
      throw new Error(`Jobs of kind ${this.#job.kind} have no step ${name}`)
    await this.change({ steps })
  }

  /** Notes how far the disks are. */
  report(disks: readonly DiskProgress[]): void {
    this.#rate.add(this.#nowMs(), workOf(disks).doneBytes)
    if (this.#isEnding) return
    this.#publish({ disks })
    if (this.#isSaveDue) return
    this.#isSaveDue = true
    this.#saveSoon().catch(error => this.#options.log.warn('Progress could not be stored', { error }))
  }

  /** The progress now, after each change, and at the end. Ends when the job or the signal does. */
  async *watch(signal: AbortSignal): AsyncGenerator<Progress> {
    const over = AbortSignal.any([signal, this.#left.signal])
    let wake = () => {}
    const notice = () => wake()
    this.#watchers.add(notice)
    over.addEventListener('abort', notice, { once: true })
    try {
      for (let seen = -1; !over.aborted; ) {
        if (seen === this.#version) {
          await new Promise<void>(resolve => {
            wake = resolve
          })
          continue
        }
        seen = this.#version
        yield this.progress
        if (isFinished(this.#job)) return
      }
    } finally {
      this.#watchers.delete(notice)
    }
    // Watchers come back to the next process; a plain end would tell them that the job has ended.
    if (!signal.aborted) throw new AppError('job-interrupted', { detail: 'The Hub is stopping.' })
  }

  /** Lets go of a job that has not ended: another process will go on with it. */
  leave(): void {
    this.#left.abort()
  }

  async #saveSoon(): Promise<void> {
    await this.#options.clock.sleep(SAVE_INTERVAL_MS)
    this.#isSaveDue = false
    if (!this.#isEnding && !this.#left.signal.aborted) await this.#save(this.#job)
  }

  #publish(change: Partial<Job>): void {
    this.#job = { ...this.#job, ...change }
    this.#version++
    for (const notice of this.#watchers) notice()
  }

  /** One after the other, so that an older state never overtakes a newer one. */
  #save(job: Job): Promise<void> {
    const saved = this.#lastSave.then(() => this.#options.store.save(job))
    this.#lastSave = saved.catch(() => undefined)
    return saved
  }

  #nowMs(): number {
    return this.#options.clock.now().getTime()
  }
}

function advanced(step: JobStep, state: StepState, now: Date): JobStep {
  const hasBegun = state !== 'waiting' && state !== 'skipped'
  const hasEnded = state !== 'waiting' && state !== 'running'
  return {
    ...step,
    state,
    startedAt: step.startedAt ?? (hasBegun ? now : null),
    finishedAt: hasEnded ? now : null,
  }
}
