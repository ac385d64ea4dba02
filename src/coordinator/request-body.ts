// Owns reading a JSON request's body: bounded in bytes and in time, because the server itself sets no time limit (uploads
// of artifacts may take hours). Knows no routes.

import { SwarmError } from '../protocol/errors.ts';

const BODY_MS = 30_000;

/** The body as text. Throws 'too-large', or 'timeout' when it takes longer than `limitMs`. */
export async function readText(request: Request, maxBytes: number, limitMs: number = BODY_MS): Promise<string> {
  if (Number(request.headers.get('content-length') ?? 0) > maxBytes) throw tooLarge(maxBytes);
  if (!request.body) return '';
  const reader = request.body.getReader();
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new SwarmError('timeout', `the request's body did not come within ${limitMs} ms`)),
    limitMs,
  );
  const decoder = new TextDecoder();
  let [text, sizeBytes] = ['', 0];
  try {
    for (;;) {
      const { done, value } = await Promise.race([reader.read(), late]);
      if (done) return text + decoder.decode();
      sizeBytes += value.byteLength;
      if (sizeBytes > maxBytes) throw tooLarge(maxBytes);
      text += decoder.decode(value, { stream: true });
    }
  } catch (error) {
    // What is left is the server's to drain or cut off.
    void reader.cancel().catch(() => undefined);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function tooLarge(maxBytes: number): SwarmError {
  return new SwarmError('too-large', `this request may have at most ${maxBytes} bytes`);
}
