// Owns the list of jobs.

import type { JobSummary } from '../../src/protocol/views.ts';
import { formatCount, formatShare, formatTime } from './format.ts';
import { Progress } from './progress.tsx';

export function JobList({ jobs }: { jobs: readonly JobSummary[] | undefined }) {
  return (
    <section aria-labelledby="jobs-title">
      <h2 id="jobs-title">Jobs</h2>
      {jobs?.length === 0 && (
        <p className="empty">
          No job yet: <code>swarm run embeddings FOLDER --out FILE</code> submits one.
        </p>
      )}
      <ul className="rows">
        {jobs?.map((job) => (
          <li key={job.id}>
            <a className="row job" href={`#/jobs/${job.id}`}>
              <span className="name">{job.name}</span>
              <Status status={job.status} />
              <span className="dim">{job.submitterName}</span>
              <span className="dim">{formatTime(job.submittedAt)}</span>
              <span className="figure">
                {formatCount(job.items.done)} of {formatCount(job.items.total)}
                {job.items.failed > 0 && <b className="bad"> · {formatCount(job.items.failed)} failed</b>}
              </span>
              <Progress items={job.items} label={`${job.name}: ${formatShare(job.items.done / job.items.total)}`} />
            </a>
          </li>
        ))}
      </ul>
    </section>
  );
}

export function Status({ status }: { status: JobSummary['status'] }) {
  return <span className={`tag ${status}`}>{status}</span>;
}
