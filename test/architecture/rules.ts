// Owns the architecture as data: which layer may know which, what a layer may not mention, how files are named.
// Every row carries its reason; it is printed when the row is broken.

export type LayerRule = {
  readonly layer: string;
  /** Layers, or single files (`store/memory.ts`), that this one may import besides itself. */
  readonly mayImport: readonly string[];
  /** Packages it may import; `any` where the layer is a place for them. */
  readonly packages: 'any' | readonly string[];
  readonly mayUseNode: boolean;
  readonly why: string;
};

const BELOW_THE_SHELLS = ['lib', 'protocol', 'core', 'runtime'];

/** One row per folder of src, lowest first. A folder without a row fails the test. */
export const LAYERS: readonly LayerRule[] = [
  {
    layer: 'lib',
    mayImport: [],
    packages: [],
    mayUseNode: false,
    why: 'lib is the ground: no domain, no IO, usable in browsers and in the simulator',
  },
  {
    layer: 'protocol',
    mayImport: ['lib'],
    packages: ['zod', 'canonicalize'],
    mayUseNode: false,
    why: 'protocol is what both ends agree on; browsers speak it too, so no node:*',
  },
  {
    layer: 'core',
    mayImport: ['lib', 'protocol'],
    packages: [],
    mayUseNode: false,
    why: 'core is pure: the simulator and recovery depend on the same events giving the same state',
  },
  {
    layer: 'runtime',
    mayImport: ['lib', 'protocol', 'core'],
    packages: [],
    mayUseNode: true,
    why: 'the loop feeds the core and knows no adapter, so that coordinator, agent and simulator share it',
  },
  {
    layer: 'store',
    mayImport: ['lib', 'protocol', 'core'],
    packages: ['zod'],
    mayUseNode: true,
    why: 'a store keeps the records of the core and knows nothing of who asks',
  },
  {
    layer: 'objects',
    mayImport: ['lib', 'protocol'],
    packages: ['hono', 'zod'],
    mayUseNode: true,
    why: 'objects are bytes with a hash; jobs, peers and records are not their business',
  },
  {
    layer: 'identity',
    mayImport: ['lib', 'protocol'],
    packages: ['zod'],
    mayUseNode: true,
    why: 'keys, certificates and trust stand below the shells that use them',
  },
  {
    layer: 'workloads',
    mayImport: ['lib', 'protocol', 'objects'],
    packages: 'any',
    mayUseNode: true,
    why: 'a workload runs in a child process under the sandbox: it knows items and files, never peers, state or keys',
  },
  {
    layer: 'client',
    mayImport: ['lib', 'protocol'],
    packages: ['zod', 'hono'],
    mayUseNode: false,
    why: 'the client is the public SDK and runs in browsers',
  },
  {
    layer: 'coordinator',
    mayImport: [...BELOW_THE_SHELLS, 'store', 'objects', 'identity'],
    packages: 'any',
    mayUseNode: true,
    why: 'shells never import each other: the coordinator meets agents and clients only over the protocol',
  },
  {
    layer: 'agent',
    mayImport: [...BELOW_THE_SHELLS, 'objects', 'identity', 'workloads', 'client'],
    packages: 'any',
    mayUseNode: true,
    why: 'shells never import each other: the agent meets any coordinator over the protocol, for HTTP as a client of its API',
  },
  {
    layer: 'sim',
    mayImport: [
      ...BELOW_THE_SHELLS,
      'store/memory.ts',
      'store/store.ts',
      'objects/memory-objects.ts',
      'objects/objects.ts',
    ],
    packages: [],
    mayUseNode: true,
    why: 'the simulator drives production cores with in-memory adapters; a shell would bring real time and real IO',
  },
  {
    layer: 'cli',
    mayImport: [
      ...BELOW_THE_SHELLS,
      ...['store', 'objects', 'identity', 'workloads', 'client', 'coordinator', 'agent', 'sim/fleet.ts'],
    ],
    packages: 'any',
    mayUseNode: true,
    why: 'the command line starts everything, plays what-if questions, and is imported by nothing',
  },
];

/** Folders beside src, and what of src they may import. */
export const OUTSIDERS: readonly { folder: string; mayImport: readonly string[]; why: string }[] = [
  {
    folder: 'dashboard',
    mayImport: ['client', 'lib', 'protocol'],
    why: 'the dashboard does what any client can do, and nothing else',
  },
  { folder: 'examples', mayImport: ['client'], why: 'an example shows what a user can write: the SDK only' },
];

export type Ban = {
  /** Folders or files under src; a file in `except` is let off. */
  readonly where: readonly string[];
  readonly except?: readonly string[];
  readonly pattern: RegExp;
  readonly why: string;
};

const PURE = ['core'];
const REPEATABLE = ['lib', 'protocol', 'core', 'sim'];

/** Words that must not stand in the code of a layer (comments and strings are not searched). */
export const BANS: readonly Ban[] = [
  { where: PURE, pattern: /\bDate\b/, why: 'time is event.at: the core has no clock' },
  { where: PURE, pattern: /\bperformance\b/, why: 'time is event.at: the core has no clock' },
  { where: PURE, pattern: /\bcrypto\b/, why: 'ids and hashes come in with events' },
  {
    where: PURE,
    pattern: /\bset(?:Timeout|Interval|Immediate)\b|\bqueueMicrotask\b/,
    why: 'the loop wakes the core, the core never waits',
  },
  {
    where: PURE,
    pattern: /\basync\b|\bawait\b|\bPromise\b/,
    why: 'a step is one synchronous transition, so that a batch is one transaction',
  },
  { where: PURE, pattern: /\bconsole\b/, why: 'output is data: changes and effects' },
  {
    where: PURE,
    pattern: /\bprocess\b\.|\bglobalThis\b|\bfetch\s*\(/,
    why: 'the core knows no process, no globals, no network',
  },
  { where: PURE, pattern: /\bimport\s*\(/, why: 'loading code is IO' },
  {
    where: REPEATABLE,
    pattern: /\bMath\.random\b/,
    why: 'randomness is seeded (lib/prng.ts), or the same seed would not repeat',
  },
  {
    where: REPEATABLE,
    except: ['protocol/keys.ts'],
    pattern: /\brandomUUID\b|\brandomBytes\b|\bgetRandomValues\b/,
    why: 'ids are derived or supplied, or the same seed would not repeat; only keys are drawn',
  },
  { where: ['sim'], pattern: /\bDate\b|\bset(?:Timeout|Interval)\b/, why: 'the simulator has a virtual clock' },
  {
    where: ['sim'],
    except: ['sim/main.ts'],
    pattern: /\bperformance\b/,
    why: 'the simulator has a virtual clock; only its report tells real time',
  },
  {
    where: ['lib', 'protocol', 'client'],
    pattern: /\bBuffer\b|\bprocess\.|\b__dirname\b/,
    why: 'these layers run in browsers',
  },
  { where: [''], pattern: /\bexport\s+default\b/, why: 'a name is given once, where the thing is declared' },
  { where: [''], pattern: /\bexport\s*\*\s*from\b/, why: 'no barrels: a reader sees where a name comes from' },
  {
    where: [''],
    pattern: /^\s*(?:export\s+)?(?:const\s+)?enum\b/m,
    why: 'enums are not erasable; use a union of strings',
  },
];

/** Words that must not stand in comments either. */
export const BANNED_DIRECTIVES = /@ts-(?:ignore|expect-error|nocheck)|(?:eslint|oxlint)-disable/;

/** Programs that must not reach a package, whatever way round. */
export const OUT_OF_REACH: readonly { entry: string; packages: readonly string[]; why: string }[] = [
  {
    entry: 'coordinator/main.ts',
    packages: ['onnxruntime-node', '@huggingface/transformers', 'node-llama-cpp'],
    why: 'the coordinator may be a Raspberry Pi: no native module and no model runtime in its path',
  },
  {
    entry: 'agent/main.ts',
    packages: ['onnxruntime-node', '@huggingface/transformers', 'node-llama-cpp'],
    why: 'an idle agent stays under 90 MB: model runtimes load in the runner, a child process',
  },
];

export const FORBIDDEN_STEMS = new Set([
  'utils',
  'util',
  'helpers',
  'helper',
  'types',
  'type',
  'manager',
  'service',
  'common',
  'misc',
  'index',
]);
export const FILE_NAME = /^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.test|\.d|\.config)?\.(?:ts|tsx|mjs)$/;
export const MAX_LINES = 400;
/** A test file is a list of cases, which reads well at more length than code does. */
export const MAX_TEST_LINES = 600;
