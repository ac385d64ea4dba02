// Owns the picture of a job's stages and what needs what: dagre says where, SVG draws. One stage alone needs no picture.

import dagre from '@dagrejs/dagre';
import { useMemo, type KeyboardEvent } from 'react';
import type { JobDetail } from '../../src/protocol/views.ts';
import { formatShare } from './format.ts';

type Stage = JobDetail['stages'][number];
type Props = { readonly stages: readonly Stage[]; readonly onOpen: (stage: string) => void };

const [NODE_HEIGHT, CHAR_WIDTH, PADDING, MARGIN] = [44, 8, 32, 4];

export function Dag({ stages, onOpen }: Props) {
  const shape = JSON.stringify(stages.map(({ name, needs }) => [name, needs]));
  const layout = useMemo(() => layOut(JSON.parse(shape) as [string, string[]][]), [shape]);
  if (stages.length < 2) return null;
  const { width, height, nodes, edges } = layout;
  return (
    <div className="dag">
      <svg width={width} height={height} viewBox={`0 0 ${width} ${height}`} role="group" aria-label="What needs what">
        {edges.map((path) => (
          <path key={path} d={path} className="edge" />
        ))}
        {stages.map((stage) => {
          const box = nodes.get(stage.name);
          return box && <Node key={stage.name} stage={stage} box={box} onOpen={onOpen} />;
        })}
      </svg>
    </div>
  );
}

type Box = { readonly x: number; readonly y: number; readonly width: number };

function Node({ stage, box: { x, y, width }, onOpen }: { stage: Stage; box: Box; onOpen: Props['onOpen'] }) {
  const share = stage.items.total === 0 ? 0 : stage.items.done / stage.items.total;
  const onKey = (event: KeyboardEvent) => {
    if (event.key !== 'Enter' && event.key !== ' ') return;
    // Or the same stroke would press the button that gets the focus next.
    event.preventDefault();
    onOpen(stage.name);
  };
  return (
    <g
      className={`node ${stage.status}`}
      transform={`translate(${x - width / 2} ${y - NODE_HEIGHT / 2})`}
      role="button"
      tabIndex={0}
      aria-label={`${stage.name}, ${stage.status}, ${formatShare(share)}: why?`}
      onClick={() => onOpen(stage.name)}
      onKeyDown={onKey}
    >
      <rect width={width} height={NODE_HEIGHT} rx={8} />
      <rect className="share" width={width * share} height={NODE_HEIGHT} rx={8} />
      <text x={width / 2} y={19} textAnchor="middle">
        {stage.name}
      </text>
      <text x={width / 2} y={35} textAnchor="middle" className="small">
        {stage.status === 'running' ? formatShare(share) : stage.status}
      </text>
    </g>
  );
}

function layOut(stages: readonly [name: string, needs: readonly string[]][]) {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: 'LR', nodesep: 16, ranksep: 40, marginx: MARGIN, marginy: MARGIN });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const [name] of stages)
    graph.setNode(name, { width: Math.max(96, CHAR_WIDTH * name.length + PADDING), height: NODE_HEIGHT });
  for (const [name, needs] of stages) for (const need of needs) graph.setEdge(need, name);
  dagre.layout(graph);
  const { width = 0, height = 0 } = graph.graph() as { width?: number; height?: number };
  const nodes = new Map(stages.map(([name]): [string, Box] => [name, graph.node(name) as Box]));
  const edges = stages.flatMap(([name, needs]) =>
    needs.map((need) => toPath((graph.edge(need, name) as { points: readonly Point[] }).points)),
  );
  return { width, height, nodes, edges };
}

type Point = { readonly x: number; readonly y: number };

function toPath(points: readonly Point[]): string {
  return points.map(({ x, y }, i) => `${i === 0 ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`).join('');
}
