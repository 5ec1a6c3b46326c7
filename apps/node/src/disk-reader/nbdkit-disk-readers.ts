import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { access, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { JobId } from '@sendense/contracts'
import { EngineError } from '@sendense/engine'
import { AppError, type Clock, type Logger } from '@sendense/platform'
import type { Ledger, LedgerRecord } from '../ledger/ledger.ts'
import type { DiskReaderEntry } from '../ledger/ledger-entry.ts'
import { identifyProcess } from '../ledger/process-table.ts'
import { BoundedLines } from './bounded-lines.ts'
import { classifyReaderFailure, type ProcessExit } from './classify-reader-failure.ts'
import type { DiskReader, DiskReaders, DiskSource } from './disk-reader.ts'
import { type NbdkitSettings, nbdkitArguments, nbdkitEnvironment, readerFiles } from './nbdkit-arguments.ts'

export interface NbdkitDiskReadersDeps {
  readonly settings: NbdkitSettings
  /** Where the private directories are made. Short: the path of a unix socket has at most 107 bytes. */
  readonly runDirectory: string
  readonly ledger: Ledger
  readonly clock: Clock
  readonly log: Logger
  readonly startTimeoutMs?: number
}

/**
 * Disk readers made of nbdkit with its vddk plugin: one process, one private directory and one unix socket per disk.
 */
export class NbdkitDiskReaders implements DiskReaders {
  readonly #deps: NbdkitDiskReadersDeps

  constructor(deps: NbdkitDiskReadersDeps) {
    this.#deps = deps
  }

  async open(
    source: DiskSource,
    { jobId, signal }: { jobId: JobId; signal: AbortSignal },
  ): Promise<DiskReader> {
    const directory = join(this.#deps.runDirectory, randomBytes(6).toString('hex'))
    const record = await this.#deps.ledger.record<DiskReaderEntry>({
      kind: 'disk-reader',
      jobId,
      directory,
      process: null,
    })
    const reader = new NbdkitDiskReader(this.#deps, record, source)
    try {
      await reader.start(source, signal)
    } catch (error) {
      await reader[Symbol.asyncDispose]()
      throw error
    }
    return reader
  }
}

class NbdkitDiskReader implements DiskReader {
  readonly socketPath: string
  readonly #deps: NbdkitDiskReadersDeps
  readonly #record: LedgerRecord<DiskReaderEntry>
  readonly #messages: BoundedLines
  #child: ChildProcess | undefined
  /** Resolves when the process has ended and everything it wrote was read. */
  #ended: Promise<void> = Promise.resolve()
  #startError: Error | undefined

  constructor(deps: NbdkitDiskReadersDeps, record: LedgerRecord<DiskReaderEntry>, source: DiskSource) {
    this.#deps = deps
    this.#record = record
    this.#messages = new BoundedLines({ secrets: [source.server.password] })
    this.socketPath = readerFiles(record.entry.directory).socket
  }

  /** Makes the directory, starts nbdkit and waits until it listens. Then the password file is not needed any more. */
  async start(source: DiskSource, signal: AbortSignal): Promise<void> {
    const { directory } = this.#record.entry
    const files = readerFiles(directory)
    await mkdir(directory, { mode: 0o700 })
    await writeFile(files.password, source.server.password, { mode: 0o600, flag: 'wx' })
    await this.#spawn(directory, source)
    await this.#untilListening(files.pid, signal)
    await rm(files.password)
  }

  async explain(error: unknown): Promise<AppError> {
    // A reader that dies is seen first as a broken connection.
    await this.#endedWithin(EXIT_NOTICE_MS)
    const symptom =
      error instanceof EngineError && error.code === 'disk-open-failed'
        ? 'disk-open-failed'
        : 'disk-read-failed'
    return this.#classify(symptom, error)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#end()
      await rm(this.#record.entry.directory, { recursive: true, force: true })
      await this.#record.close()
    } catch (error) {
      this.#record.abandon()
      this.#deps.log.warn('A disk reader is left behind', { error, directory: this.#record.entry.directory })
    }
  }

  async #spawn(directory: string, source: DiskSource): Promise<void> {
    const { settings, log } = this.#deps
    const child = spawn(settings.nbdkit, nbdkitArguments(settings, directory, source), {
      env: nbdkitEnvironment(directory),
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.#child = child
    child.on('error', error => {
      this.#startError ??= error
    })
    this.#ended = new Promise(resolve => child.once('close', () => resolve()))
    child.stderr.setEncoding('utf8').on('data', (piece: string) => {
      for (const line of this.#messages.add(piece)) log.debug(line, { pid: child.pid })
    })
    const identity = child.pid === undefined ? undefined : await identifyProcess(child.pid)
    if (identity) await this.#record.update({ ...this.#record.entry, process: identity })
  }

  /** nbdkit writes its pid file when it accepts connections. */
  async #untilListening(pidFile: string, signal: AbortSignal): Promise<void> {
    const { clock, startTimeoutMs = 30_000 } = this.#deps
    const deadline = clock.now().getTime() + startTimeoutMs
    for (;;) {
      signal.throwIfAborted()
      if (await exists(pidFile)) return
      if (clock.now().getTime() >= deadline || this.#exit() || this.#startError) {
        await this.#endedWithin(EXIT_NOTICE_MS)
        throw this.#classify('not-started', this.#startError)
      }
      await clock.sleep(POLL_MS, signal)
    }
  }

  #classify(symptom: 'not-started' | 'disk-open-failed' | 'disk-read-failed', cause: unknown): AppError {
    if (this.#startError) {
      const detail = `${this.#deps.settings.nbdkit} could not be started: ${this.#startError.message}`
      return new AppError('vddk-unavailable', { detail, cause })
    }
    return classifyReaderFailure({ messages: this.#messages.toString(), exit: this.#exit(), symptom, cause })
  }

  #exit(): ProcessExit | null {
    const { exitCode = null, signalCode = null } = this.#child ?? {}
    return exitCode === null && signalCode === null ? null : { code: exitCode, signal: signalCode }
  }

  async #end(): Promise<void> {
    if (!this.#child || this.#startError) return
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      if (this.#exit()) return
      this.#child.kill(signal)
      await this.#endedWithin(END_GRACE_MS)
    }
    if (!this.#exit()) throw new Error(`nbdkit ${this.#child.pid} does not end`)
  }

  async #endedWithin(withinMs: number): Promise<void> {
    if (this.#startError) return
    const timer = new AbortController()
    await Promise.race([
      this.#ended,
      sleep(withinMs, undefined, { signal: timer.signal }).catch(() => undefined),
    ])
    timer.abort()
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

const POLL_MS = 10
const EXIT_NOTICE_MS = 250
const END_GRACE_MS = 5000
