import { expect, test } from 'vitest';
import { readText } from './request-body.ts';

function post(body: BodyInit): Request {
  return new Request('http://coordinator/', { method: 'POST', body, duplex: 'half' } as RequestInit);
}

function never(...chunks: string[]): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  return new ReadableStream({
    start: (controller) => {
      for (const chunk of chunks) controller.enqueue(encoder.encode(chunk));
    },
  });
}

test('a body within its bounds is read whole, characters cut between chunks included', async () => {
  const bytes = new TextEncoder().encode('{"a":"ä€😀"}');
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => {
      for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
      controller.close();
    },
  });
  expect(await readText(post(body), 100)).toBe('{"a":"ä€😀"}');
  expect(await readText(new Request('http://coordinator/', { method: 'POST' }), 100)).toBe('');
});

test('a body that is too large is refused as soon as that is known, whatever its length says', async () => {
  await expect(readText(post(never('x'.repeat(60), 'x'.repeat(60))), 100)).rejects.toMatchObject({ code: 'too-large' });
  const announced = new Request('http://coordinator/', {
    method: 'POST',
    body: 'x',
    headers: { 'content-length': '101' },
  });
  await expect(readText(announced, 100)).rejects.toMatchObject({ code: 'too-large' });
});

test('a sender who does not go on is not waited for', async () => {
  await expect(readText(post(never('{')), 100, 20)).rejects.toMatchObject({ code: 'timeout' });
});
