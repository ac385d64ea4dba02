// Owns where a coordinator may be found: the addresses of the trust file or the one the owner gave, and how each is to
// be spoken to. Plain HTTP is for loopback only; everywhere else the pinned TLS key is required.

import type { TrustFile } from '../identity/trust-file.ts';
import { SwarmError } from '../protocol/errors.ts';

export type Endpoint = {
  /** Such as `https://10.0.0.2:8443`, without a slash at its end. */
  readonly url: string;
  /** Absent on plain loopback. */
  readonly tlsPin?: string;
};

/** All addresses worth trying, in order. Throws SwarmError 'bad-input' when there is none. */
export function toEndpoints(trust: Pick<TrustFile, 'addresses' | 'tlsPin'>, url?: string): Endpoint[] {
  const addresses = url === undefined ? trust.addresses : [url];
  const parsed = addresses.map((address) => toEndpoint(address, trust.tlsPin));
  const endpoints = parsed.filter((endpoint) => typeof endpoint !== 'string');
  if (endpoints.length > 0) return endpoints;
  const why = parsed.filter((entry) => typeof entry === 'string').join('; ') || 'the trust file names no address';
  throw new SwarmError(
    'bad-input',
    `no address of the coordinator can be used: ${why}; join again, or give one by --url`,
  );
}

/** The endpoint, or why there is none. */
function toEndpoint(address: string, tlsPin: string | undefined): Endpoint | string {
  if (!URL.canParse(address)) return `${address} is not an address`;
  const { protocol, hostname, origin } = new URL(address);
  if (protocol === 'https:')
    return tlsPin === undefined ? `${address} needs a TLS pin, which the invite did not have` : { url: origin, tlsPin };
  if (protocol !== 'http:') return `${address} is neither http nor https`;
  return isLoopback(hostname) ? { url: origin } : `${address} is not encrypted, which only loopback may be`;
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}
