import type { TestProject } from 'vitest/node'
import { type MariaDbServer, startMariaDb } from './mariadb-server.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** Where the tests of a project have a MariaDB; without one they use SQLite. */
    mariadbUrl?: string
  }
}

let server: MariaDbServer | undefined

/** One server for all test files of a project. */
export async function setup(project: TestProject): Promise<void> {
  server = await startMariaDb()
  project.provide('mariadbUrl', server.url)
}

export async function teardown(): Promise<void> {
  await server?.[Symbol.asyncDispose]()
}
