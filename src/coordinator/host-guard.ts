// Owns the check of Host and Origin on every request: against DNS rebinding (a page's own name that resolves to us) and
// against pages of other origins. Knows no routes.

/** Says in words why a request is refused, or undefined. */
export type HostGuard = { check(host: string | undefined, origin: string | undefined): string | undefined };

/** `hosts` are the names and addresses by which this coordinator may be called, without ports. */
export function createHostGuard(hosts: readonly string[]): HostGuard {
  const allowed = new Set(hosts.map(normalise));
  return {
    check(host, origin) {
      const name = host === undefined ? undefined : toHostname(`http://${host}`);
      if (name === undefined || !allowed.has(name))
        return `this coordinator is not called "${shorten(host ?? '')}": use its address, or name it in the setting publicHosts`;
      if (origin === undefined) return undefined;
      return toHost(origin) === host?.toLowerCase()
        ? undefined
        : `requests from pages of ${shorten(origin)} are refused`;
    },
  };
}

function toHostname(url: string): string | undefined {
  return URL.canParse(url) ? normalise(new URL(url).hostname) : undefined;
}

function toHost(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}

function normalise(host: string): string {
  return host.toLowerCase().replace(/^\[|\]$/g, '');
}

function shorten(text: string): string {
  return text.slice(0, 100);
}
