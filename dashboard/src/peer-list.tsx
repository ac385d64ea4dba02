// Owns the list of peers: their devices, how they are, and what they do now.

import type { PeerView } from '../../src/protocol/views.ts';
import { formatByteSize, formatCount, formatDuration, formatRate, formatShare } from './format.ts';

type Session = NonNullable<PeerView['session']>;

export function PeerList({ peers }: { peers: readonly PeerView[] | undefined }) {
  const sorted = peers?.toSorted(
    (a, b) => Number(b.connected) - Number(a.connected) || a.name.localeCompare(b.name) || (a.id < b.id ? -1 : 1),
  );
  return (
    <section aria-labelledby="peers-title">
      <h2 id="peers-title">Peers</h2>
      {peers?.length === 0 && (
        <p className="empty">
          No machine has joined yet: <code>swarm invite</code> lets one in.
        </p>
      )}
      <ul className="cards">
        {sorted?.map((peer) => (
          <li key={peer.id} className={peer.connected ? 'card' : 'card away'}>
            <h3>
              {peer.name} <Standing peer={peer} />
            </h3>
            {peer.quarantine && <p className="bad">{peer.quarantine.reason}</p>}
            {peer.session && <Machine session={peer.session} />}
            {peer.session && peer.connected && <Doing session={peer.session} />}
          </li>
        ))}
      </ul>
    </section>
  );
}

function Standing({ peer: { connected, drained, quarantine, session } }: { peer: PeerView }) {
  if (!connected)
    return <span className="tag canceled">{session ? `away for ${formatDuration(session.silentMs)}` : 'away'}</span>;
  if (drained) return <span className="tag paused">drained</span>;
  if (quarantine) return <span className="tag failed">quarantined for {formatDuration(quarantine.leftMs)}</span>;
  return <span className="tag completed">connected</span>;
}

function Machine({ session: { devices, telemetry, labels, uplinkBytesPerSecond, sandbox } }: { session: Session }) {
  return (
    <>
      <ul className="devices">
        {devices.map((device) => (
          <li key={device.id}>
            {device.name} <span className="dim">{formatByteSize(device.memoryBytes)}</span>
          </li>
        ))}
      </ul>
      <p className="facts">
        {telemetry?.cpuUtilisation !== undefined && <span>CPU {formatShare(telemetry.cpuUtilisation)}</span>}
        {uplinkBytesPerSecond !== undefined && <span>uplink {formatByteSize(Math.round(uplinkBytesPerSecond))}/s</span>}
        {sandbox !== undefined && <span>{sandbox}</span>}
        {labels.map((label) => (
          <span key={label}>#{label}</span>
        ))}
      </p>
    </>
  );
}

function Doing({ session: { doing, heldTasks } }: { session: Session }) {
  const [now] = doing;
  if (!now) return <p className="dim">idle</p>;
  const queued = heldTasks - 1;
  return (
    <p className="doing">
      <a href={`#/jobs/${now.job}`}>{now.jobName}</a> <span className="dim">{now.stage}</span>
      <br />
      items {formatCount(now.start)}–{formatCount(now.end - 1)}
      {now.itemsPerSecond !== undefined && <> · {formatRate(now.itemsPerSecond)}</>}
      {now.why !== 'fresh' && <> · {now.why}</>}
      {queued > 0 && <span className="dim"> · {queued} more in its queue</span>}
    </p>
  );
}
