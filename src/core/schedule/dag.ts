// Owns the offline plan of a DAG of tasks over unlike devices: a portfolio of list schedules that differ in what they
// take for urgent and in how far they look ahead, the best of which is scheduled again with what it showed. HEFT is one
// of them, so the plan never ends later than HEFT's. Knows no stages and no peers.

export type DagTask = {
  /** Earlier tasks, by their places, with the ms that their result takes to another device. */
  readonly needs: readonly { readonly task: number; readonly transferMs: number }[];
  /** ms by device; Infinity where it cannot run. At least one must be finite. */
  readonly msOn: readonly number[];
};

export type DagPlan = {
  readonly deviceOf: readonly number[];
  readonly startMs: readonly number[];
  readonly makespanMs: number;
};

/** Times that the best plan is made again with the costs it showed. */
const REFINEMENTS = 6;

type Slot = { readonly start: number; readonly end: number };
/** By task, by device: what is still to come after it, at best. */
type Outlook = readonly Float64Array[];

/**
 * HEFT (Topcuoglu, Hariri and Wu 2002) with upward ranks by mean, least and harmonic cost; PEFT (Arabnejad and Barbosa
 * 2014), which looks ahead by an optimistic cost table; then rescheduling by the ranks of the best plan so far. Tasks
 * must stand behind what they need. Throws a RangeError for one that no device can run.
 */
export function planDag(tasks: readonly DagTask[]): DagPlan {
  const costs = [meanOf, Math.min, harmonicOf].map((of) =>
    tasks.map(({ msOn }) => of(...msOn.filter(Number.isFinite))),
  );
  const outlook = lookAhead(tasks);
  const ranks = costs.map((cost) => rankUpward(tasks, (task) => cost[task] ?? 0, meanTransfer(tasks)));
  const candidates = ranks.flatMap((rank) => [listSchedule(tasks, rank), listSchedule(tasks, rank, outlook)]);
  const optimistic = outlook.map((row) => meanOf(...row.filter(Number.isFinite)));
  candidates.push(listSchedule(tasks, optimistic, outlook));
  let best = candidates.reduce((a, b) => (b.makespanMs < a.makespanMs ? b : a));
  for (let round = 0; round < REFINEMENTS; round++) {
    const again = refine(tasks, best, round % 2 === 0 ? undefined : outlook);
    if (again.makespanMs < best.makespanMs) best = again;
    else if (round % 2 === 1) break;
  }
  return best;
}

function meanOf(...values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** What the devices together would take for one, times their number: fast devices count most. */
function harmonicOf(...values: readonly number[]): number {
  return values.length / values.reduce((sum, value) => sum + 1 / value, 0);
}

/** Between two tasks on devices drawn at random: none where they are the same. */
function meanTransfer(tasks: readonly DagTask[]): number {
  const devices = tasks[0]?.msOn.length ?? 1;
  return (devices - 1) / devices;
}

/** The longest way from the begin of each task to the end of all. */
function rankUpward(tasks: readonly DagTask[], costOf: (task: number) => number, transferShare: number): number[] {
  const rank = tasks.map(() => 0);
  for (let task = tasks.length - 1; task >= 0; task--) {
    const own = (rank[task] ?? 0) + costOf(task);
    rank[task] = own;
    for (const { task: need, transferMs } of tasks[task]?.needs ?? [])
      rank[need] = Math.max(rank[need] ?? 0, own + transferShare * transferMs);
  }
  return rank;
}

/** The optimistic cost table: what the rest takes at best behind a task on a device, if no device were ever busy. */
function lookAhead(tasks: readonly DagTask[]): Outlook {
  const outlook = tasks.map(({ msOn }) => new Float64Array(msOn.length));
  for (let task = tasks.length - 1; task >= 0; task--) {
    const { msOn, needs } = tasks[task] ?? { msOn: [], needs: [] };
    const after = msOn.map((ms, device) => ms + (outlook[task]?.[device] ?? 0));
    const least = Math.min(...after);
    for (const { task: need, transferMs } of needs) {
      const row = outlook[need] ?? new Float64Array();
      for (let device = 0; device < row.length; device++)
        row[device] = Math.max(row[device] ?? 0, Math.min(after[device] ?? Infinity, least + transferMs));
    }
  }
  return outlook;
}

/** Ranks by what tasks cost where they are, and by transfers that really happen. */
function refine(tasks: readonly DagTask[], { deviceOf }: DagPlan, outlook: Outlook | undefined): DagPlan {
  const rank = tasks.map(() => 0);
  for (let task = tasks.length - 1; task >= 0; task--) {
    const device = deviceOf[task] ?? 0;
    const own = (rank[task] ?? 0) + (tasks[task]?.msOn[device] ?? 0);
    rank[task] = own;
    for (const { task: need, transferMs } of tasks[task]?.needs ?? [])
      rank[need] = Math.max(rank[need] ?? 0, own + (deviceOf[need] === device ? 0 : transferMs));
  }
  return listSchedule(tasks, rank, outlook);
}

/** The most urgent task that may begin goes where it ends first, into a gap where one is long enough. */
function listSchedule(tasks: readonly DagTask[], rank: readonly number[], outlook?: Outlook): DagPlan {
  const devices = tasks[0]?.msOn.length ?? 0;
  const slots = Array.from({ length: devices }, (): Slot[] => []);
  const [deviceOf, startMs] = [tasks.map(() => -1), tasks.map(() => 0)];
  const endMs = tasks.map(() => 0);
  for (const task of inOrder(tasks, rank)) {
    const { msOn, needs } = tasks[task] ?? { msOn: [], needs: [] };
    let best = { device: -1, start: 0, value: Infinity };
    for (let device = 0; device < devices; device++) {
      const ms = msOn[device] ?? Infinity;
      if (!Number.isFinite(ms)) continue;
      let readyMs = 0;
      for (const { task: need, transferMs } of needs)
        readyMs = Math.max(readyMs, (endMs[need] ?? 0) + (deviceOf[need] === device ? 0 : transferMs));
      const start = findGap(slots[device] ?? [], readyMs, ms);
      const value = start + ms + (outlook?.[task]?.[device] ?? 0);
      if (value < best.value) best = { device, start, value };
    }
    if (best.device < 0) throw new RangeError(`no device can run task ${task}`);
    const end = best.start + (msOn[best.device] ?? 0);
    [deviceOf[task], startMs[task], endMs[task]] = [best.device, best.start, end];
    insert(slots[best.device] ?? [], { start: best.start, end });
  }
  return { deviceOf, startMs, makespanMs: endMs.reduce((last, end) => Math.max(last, end), 0) };
}

/** By rank, as far as what they need comes first; a heap of those that are ready. */
function* inOrder(tasks: readonly DagTask[], rank: readonly number[]): Generator<number> {
  const missing = tasks.map(({ needs }) => needs.length);
  const followers = tasks.map((): number[] => []);
  for (const [task, { needs }] of tasks.entries()) for (const { task: need } of needs) followers[need]?.push(task);
  const ready = tasks.flatMap((_, task) => (missing[task] === 0 ? task : []));
  const isBefore = (a: number, b: number) => (rank[a] ?? 0) > (rank[b] ?? 0) || (rank[a] === rank[b] && a < b);
  while (ready.length > 0) {
    let first = 0;
    for (let i = 1; i < ready.length; i++) if (isBefore(ready[i] ?? 0, ready[first] ?? 0)) first = i;
    const [task = 0] = ready.splice(first, 1);
    yield task;
    for (const follower of followers[task] ?? []) {
      missing[follower] = (missing[follower] ?? 1) - 1;
      if (missing[follower] === 0) ready.push(follower);
    }
  }
}

/** When a task of that length can begin on a device, not before it is ready. */
function findGap(slots: readonly Slot[], readyMs: number, ms: number): number {
  let start = readyMs;
  for (let i = firstAfter(slots, readyMs); i < slots.length; i++) {
    const slot = slots[i];
    if (!slot || start + ms <= slot.start) break;
    start = Math.max(start, slot.end);
  }
  return start;
}

/** The first slot that ends after a time: slots are in order and do not overlap. */
function firstAfter(slots: readonly Slot[], at: number): number {
  let [low, high] = [0, slots.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((slots[middle]?.end ?? 0) <= at) low = middle + 1;
    else high = middle;
  }
  return low;
}

function insert(slots: Slot[], slot: Slot): void {
  slots.splice(firstAfter(slots, slot.start), 0, slot);
}
