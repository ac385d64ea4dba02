import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      // The pure core shares nothing between files, so it needs no isolation and runs in about a second.
      {
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'dashboard/src/**/*.test.ts', 'test/architecture.test.ts'],
          isolate: false,
          // A deadline for what hangs, not a speed: machines are shared.
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'integration',
          include: ['test/{contract,integration}/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
