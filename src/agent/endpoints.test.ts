// Which addresses an agent speaks to: pinned TLS anywhere, plain HTTP on loopback only.

import { expect, test } from 'vitest';
import { toEndpoints } from './endpoints.ts';

const PIN = 'ab'.repeat(32);

test('addresses are tried in order; those that are not safe are left out', () => {
  const addresses = ['http://10.0.0.2:80', 'https://10.0.0.2:8443/', 'ftp://10.0.0.2', 'http://localhost:8080/x'];
  expect(toEndpoints({ addresses, tlsPin: PIN })).toEqual([
    { url: 'https://10.0.0.2:8443', tlsPin: PIN },
    { url: 'http://localhost:8080' },
  ]);
});

test('the address that the owner gave stands alone, under the same rules', () => {
  const addresses = ['http://127.0.0.1:1'];
  expect(toEndpoints({ addresses }, 'http://[::1]:2')).toEqual([{ url: 'http://[::1]:2' }]);
  expect(() => toEndpoints({ addresses }, 'http://192.168.1.2')).toThrow(/not encrypted/);
  expect(() => toEndpoints({ addresses }, 'https://192.168.1.2')).toThrow(/TLS pin/);
  expect(() => toEndpoints({ addresses }, 'somewhere')).toThrow(/is not an address/);
  expect(() => toEndpoints({ addresses: [] })).toThrow(/names no address/);
});

test('a name that only begins like loopback is not loopback', () => {
  expect(() =>
    toEndpoints({ addresses: ['http://127.0.0.1.evil.example', 'http://localhost.evil.example'] }),
  ).toThrow();
});
