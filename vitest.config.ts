import { defineConfig } from 'vitest/config'

/**
 * Three tiers. `unit` starts nothing outside its process and runs at every save; `mariadb` repeats those that need a
 * database on a real server; `integration` uses the built
 * engine and real programs (nbdkit, restic, the vSphere simulator); `e2e` runs the whole product.
 */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['packages/*/src/**/*.test.ts', 'apps/*/src/**/*.test.ts', 'tools/**/*.test.ts'],
          testTimeout: 15_000,
          hookTimeout: 15_000,
        },
      },
      {
        // The stores and the schema again, which `unit` has on SQLite.
        test: {
          name: 'mariadb',
          include: [
            'apps/hub/src/**/*.typeorm.test.ts',
            'apps/hub/src/platform/database/*.test.ts',
            'apps/hub/src/capabilities/jobs/jobs.service.test.ts',
          ],
          globalSetup: 'tests/support/mariadb.setup.ts',
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'integration',
          include: ['packages/*/test/**/*.test.ts', 'apps/*/test/**/*.test.ts', 'tests/**/*.test.ts'],
          exclude: ['**/node_modules/**', 'tests/e2e/**'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          pool: 'forks',
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['tests/e2e/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 180_000,
          pool: 'forks',
          // One product at a time: they measure, kill and restart whole processes.
          fileParallelism: false,
        },
      },
    ],
  },
})
