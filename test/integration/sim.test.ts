import { describe, expect, test } from 'vitest';
import { PLANTS } from '../../src/sim/plant.ts';
import { runSeed } from '../../src/sim/run.ts';

const SEEDS = 40;
/** A planted bug must be found within so many seeds. */
const PLANT_SEEDS = 500;

describe('simulator', () => {
  test(`${SEEDS} seeds hold every invariant, and a seed's two runs end alike`, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const first = await runSeed({ seed });
      expect(first.violation, `npm run sim -- --seed ${seed}`).toBeUndefined();
      expect((await runSeed({ seed })).stateHash, `npm run sim -- --seed ${seed}`).toBe(first.stateHash);
    }
  });

  test('different seeds are different runs', async () => {
    const hashes = new Set<string>();
    for (let seed = 1; seed <= 10; seed++) hashes.add((await runSeed({ seed })).stateHash);
    expect(hashes.size).toBe(10);
  });

  test.each(PLANTS)(`the planted bug %s is found within ${PLANT_SEEDS} seeds`, async (plant) => {
    for (let seed = 1; seed <= PLANT_SEEDS; seed++) {
      const { violation } = await runSeed({ seed, plant });
      if (violation !== undefined)
        return expect(violation).toMatch(/^(INV-\d|liveness|lease|fair share|estimate|linearizability)/);
    }
    expect.unreachable(`${plant} was not found`);
  });
});
