/** Fakes for the tests of those who stand on this package. */
export * from './fake-clock.ts'
export * from './memory-log.ts'
