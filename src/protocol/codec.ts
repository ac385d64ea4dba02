// Owns how messages become frames: one WebSocket text frame is a JSON array of messages. Frames are bounded, and a
// frame that does not decode as a whole is refused as a whole.

import { z } from 'zod';
import { err, ok, type Result } from '../lib/result.ts';
import { toAgentSchema, type ToAgent } from './to-agent.ts';
import { toCoordinatorSchema, type ToCoordinator } from './to-coordinator.ts';

/** Holds a full backlog of reports, or a job's envelope, with room to spare. */
export const MAX_FRAME_BYTES = 4 * 1_024 * 1_024;
export const MAX_FRAME_MESSAGES = 1_024;

/** Messages are joined up to here; a frame's own bound leaves room for one long message more. */
const MAX_JOINED_CHARS = 1_024 * 1_024;

const toAgentFrame = z.array(toAgentSchema).min(1).max(MAX_FRAME_MESSAGES);
const toCoordinatorFrame = z.array(toCoordinatorSchema).min(1).max(MAX_FRAME_MESSAGES);

export function encodeFrame(messages: readonly (ToAgent | ToCoordinator)[]): string {
  return JSON.stringify(messages);
}

/** As `encodeFrame`, in as many frames as the bounds ask for. One message always fits. */
export function encodeFrames(messages: readonly (ToAgent | ToCoordinator)[]): string[] {
  const frames: string[] = [];
  let [parts, chars]: [string[], number] = [[], 0];
  for (const message of messages) {
    const text = JSON.stringify(message);
    if (parts.length > 0 && (parts.length >= MAX_FRAME_MESSAGES || chars + text.length > MAX_JOINED_CHARS)) {
      frames.push(`[${parts.join(',')}]`);
      [parts, chars] = [[], 0];
    }
    parts.push(text);
    chars += text.length + 1;
  }
  if (parts.length > 0) frames.push(`[${parts.join(',')}]`);
  return frames;
}

export function decodeToAgent(frame: string): Result<ToAgent[]> {
  return decode(frame, toAgentFrame);
}

export function decodeToCoordinator(frame: string): Result<ToCoordinator[]> {
  return decode(frame, toCoordinatorFrame);
}

function decode<T>(frame: string, schema: z.ZodType<T[]>): Result<T[]> {
  if (frame.length > MAX_FRAME_BYTES)
    return err(`a frame of ${frame.length} characters is over the limit of ${MAX_FRAME_BYTES}`);
  let value: unknown;
  try {
    value = JSON.parse(frame);
  } catch {
    return err('a frame is not JSON');
  }
  const parsed = schema.safeParse(value);
  return parsed.success
    ? ok(parsed.data)
    : err(`a frame does not fit the protocol: ${z.prettifyError(parsed.error).slice(0, 500)}`);
}
