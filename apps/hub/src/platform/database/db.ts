import { AsyncLocalStorage } from 'node:async_hooks'
import { setTimeout } from 'node:timers/promises'
import type { DataSource, EntityManager } from 'typeorm'
import { fromDriver, isConnectionLost, isDeadlock } from './database-error.ts'

/** Connections to a MariaDB. */
export const POOL_SIZE = 10

/** Deadlocks in a row after which a transaction fails. */
const DEADLOCKS_MAX = 10

interface Transaction {
  readonly manager: EntityManager
  /** False once it has ended: work that was started inside and not waited for must not go on using it. */
  isOpen: boolean
}

/**
 * The one door to the database. Reading and writing behave alike on SQLite, which has one connection for writing, and
 * on MariaDB, which has many and resolves deadlocks by failing one side.
 */
export class Db {
  readonly #writer: DataSource
  readonly #reader: DataSource
  readonly #current = new AsyncLocalStorage<Transaction>()
  #lastWrite: Promise<unknown> = Promise.resolve()

  constructor(writer: DataSource, reader: DataSource = writer) {
    this.#writer = writer
    this.#reader = reader
  }

  /**
   * Reads what is committed; inside `write` also what that transaction has written so far. Fails with
   * `database-unavailable` where that is so.
   */
  async read<T>(query: (manager: EntityManager) => Promise<T>): Promise<T> {
    const open = this.#open()
    // What fails inside a transaction is told by that.
    if (open) return query(open.manager)
    try {
      return await onFreshConnection(() => query(this.#reader.manager))
    } catch (error) {
      throw fromDriver(error)
    }
  }

  /**
   * Runs a transaction: all of it or nothing. Inside another one it becomes a part of that. Fails with
   * `database-unavailable` where that is so; it may have been committed then.
   */
  async write<T>(work: (manager: EntityManager) => Promise<T>): Promise<T> {
    const open = this.#open()
    if (open) return work(open.manager)
    try {
      return await (this.#isSqlite()
        ? this.#queue(() => this.#transact(work))
        : retryDeadlocks(() => this.#transactOnFreshConnection(work)))
    } catch (error) {
      throw fromDriver(error)
    }
  }

  async close(): Promise<void> {
    await this.#lastWrite
    if (this.#reader !== this.#writer) await this.#reader.destroy()
    await this.#writer.destroy()
  }

  #open(): Transaction | undefined {
    const transaction = this.#current.getStore()
    return transaction?.isOpen ? transaction : undefined
  }

  #isSqlite(): boolean {
    return this.#writer.options.type === 'better-sqlite3'
  }

  #transact<T>(work: (manager: EntityManager) => Promise<T>): Promise<T> {
    return this.#writer.transaction(async manager => {
      const transaction = { manager, isOpen: true }
      try {
        return await this.#current.run(transaction, () => work(manager))
      } finally {
        transaction.isOpen = false
      }
    })
  }

  /** Nothing is done twice: only what has not begun is tried again. */
  #transactOnFreshConnection<T>(work: (manager: EntityManager) => Promise<T>): Promise<T> {
    let isBegun = false
    const begin = (manager: EntityManager) => {
      isBegun = true
      return work(manager)
    }
    return onFreshConnection(
      () => this.#transact(begin),
      () => !isBegun,
    )
  }

  /** One after the other: transactions that overlap on the one connection of SQLite would mix. */
  #queue<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#lastWrite.then(run)
    this.#lastWrite = result.catch(() => undefined)
    return result
  }
}

/** A server that was restarted has closed the connections that wait in the pool. */
async function onFreshConnection<T>(run: () => Promise<T>, mayRepeat = () => true): Promise<T> {
  for (let lostCount = 1; ; lostCount++) {
    try {
      return await run()
    } catch (error) {
      if (!isConnectionLost(error) || !mayRepeat() || lostCount > POOL_SIZE) throw error
    }
  }
}

async function retryDeadlocks<T>(run: () => Promise<T>): Promise<T> {
  for (let deadlockCount = 1; ; deadlockCount++) {
    try {
      return await run()
    } catch (error) {
      if (!isDeadlock(error) || deadlockCount >= DEADLOCKS_MAX) throw error
      // The others of the knot retry too: without chance they would meet again.
      await setTimeout(Math.random() * 10 * 2 ** Math.min(deadlockCount, 6))
    }
  }
}
