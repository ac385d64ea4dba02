// Owns the page of one job: how far it is, when it will end, its stages as a graph, who works on it, and its timeline.

import { useState } from 'react';
import type { JobId } from '../../src/lib/ids.ts';
import type { JobDetail, PeerView } from '../../src/protocol/views.ts';
import { Dag } from './dag.tsx';
import { Explain } from './explain.tsx';
import { formatCount, formatDuration, formatRate, formatShare, formatTime } from './format.ts';
import { Status } from './job-list.tsx';
import { useJob } from './live.ts';
import { Progress } from './progress.tsx';
import type { Viewer } from './sign-in.ts';
import { TimelineSection } from './timeline-section.tsx';

type Props = {
  readonly client: Viewer;
  readonly id: JobId;
  readonly peers: readonly PeerView[];
  readonly onRefused: (error: unknown) => void;
};

export function JobPage({ client, id, peers, onRefused }: Props) {
  const [missing, setMissing] = useState<string>();
  const job = useJob(client, id, (error) => setMissing(error instanceof Error ? error.message : String(error)));
  const [explained, setExplained] = useState<string>();
  if (missing !== undefined) return <p className="empty">{missing}</p>;
  if (!job) return null;
  return (
    <>
      <section aria-labelledby="job-title">
        <h2 id="job-title">
          {job.name} <Status status={job.status} />
        </h2>
        <p className="facts">
          <span>by {job.submitterName}</span>
          <span>since {formatTime(job.submittedAt)}</span>
          {job.itemsPerSecond !== undefined && <span>{formatRate(job.itemsPerSecond)}</span>}
          <code>{job.id}</code>
        </p>
        {job.reason !== undefined && <p className="bad">{job.reason}</p>}
        <Progress items={job.items} label={`all items: ${formatShare(job.items.done / job.items.total)}`} />
        <p className="facts">
          <b>
            {formatCount(job.items.done)} of {formatCount(job.items.total)} items
          </b>
          {job.items.failed > 0 && <b className="bad">{formatCount(job.items.failed)} failed</b>}
          <Ending job={job} />
        </p>
      </section>
      <section aria-labelledby="stages-title">
        <h2 id="stages-title">Stages</h2>
        <Dag stages={job.stages} onOpen={setExplained} />
        <Stages job={job} onOpen={setExplained} />
      </section>
      <Workers job={job} />
      <TimelineSection client={client} peers={peers} job={id} onRefused={onRefused} />
      {explained !== undefined && (
        <Explain
          key={explained}
          {...{ client, job: id, stage: explained }}
          // A dialog tells of its end a moment later: another may be open by then.
          onClosed={() => setExplained((now) => (now === explained ? undefined : now))}
        />
      )}
    </>
  );
}

/** When it will probably end: half of such jobs by the first time, nine in ten by the second. */
function Ending({ job: { endedAt, submittedAt, eta } }: { job: JobDetail }) {
  if (endedAt !== undefined) return <span>took {formatDuration(endedAt - submittedAt)}</span>;
  if (!eta) return <span className="dim">its end is not known yet</span>;
  return (
    <span title="Half of such jobs end within the first time, nine in ten within the second">
      ends in {formatDuration(eta.p50Ms)} <span className="dim">– {formatDuration(eta.p90Ms)}</span>
    </span>
  );
}

function Stages({ job, onOpen }: { job: JobDetail; onOpen: (stage: string) => void }) {
  return (
    <ul className="rows">
      {job.stages.map((stage) => (
        <li key={stage.name} className="row stage">
          <span className="name">{stage.name}</span>
          <StageStatus stage={stage} />
          <span className="dim">{stage.workload}</span>
          <span className="figure">
            {formatCount(stage.items.done)} of {formatCount(stage.items.total)}
            {stage.runningTasks > 0 && <span className="dim"> · {stage.runningTasks} running</span>}
            {stage.retries > 0 && <span className="warn"> · {stage.retries} to retry</span>}
          </span>
          {stage.status !== 'finished' && job.endedAt === undefined && (
            <button type="button" onClick={() => onOpen(stage.name)}>
              Why?
            </button>
          )}
          <Progress items={stage.items} label={`${stage.name}: ${formatShare(stage.items.done / stage.items.total)}`} />
        </li>
      ))}
    </ul>
  );
}

/** One that may run and does not is waiting, for a machine that can. */
function StageStatus({ stage: { status, runningTasks } }: { stage: JobDetail['stages'][number] }) {
  const shown = status === 'running' && runningTasks === 0 ? 'waiting' : status;
  return <span className={`tag ${shown}`}>{shown}</span>;
}

function Workers({ job }: { job: JobDetail }) {
  if (job.workers.length === 0) return null;
  return (
    <section aria-labelledby="workers-title">
      <h2 id="workers-title">Who works on it</h2>
      <table>
        <thead>
          <tr>
            <th scope="col">Peer</th>
            <th scope="col" className="figure">
              Items
            </th>
            <th scope="col" className="figure">
              Share
            </th>
            <th scope="col" className="figure">
              Now
            </th>
          </tr>
        </thead>
        <tbody>
          {job.workers
            .toSorted((a, b) => b.doneItems - a.doneItems)
            .map(({ peer, name, doneItems, itemsPerSecond }) => (
              <tr key={peer}>
                <td>{name}</td>
                <td className="figure">{formatCount(doneItems)}</td>
                <td className="figure">{formatShare(doneItems / Math.max(1, job.items.done))}</td>
                <td className="figure">{itemsPerSecond === undefined ? '' : formatRate(itemsPerSecond)}</td>
              </tr>
            ))}
        </tbody>
      </table>
    </section>
  );
}
