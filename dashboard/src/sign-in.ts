// Owns signing in: the link's code, which is changed for a token at once and taken out of the address, and the token,
// which this tab keeps across reloads.

import { useCallback, useEffect, useState } from 'react';
import { BrowserSession, redeemCode } from '../../src/client/browser-session.ts';
import { SwarmClient } from '../../src/client/client.ts';

const KEPT = 'swarm-token';
const CODE = /^#([\w-]{43})$/;

export type Viewer = SwarmClient<BrowserSession>;

export type SignIn =
  | { readonly kind: 'signing-in' }
  | { readonly kind: 'out'; readonly reason: string }
  | { readonly kind: 'in'; readonly client: Viewer };

const NO_LINK = 'Open the link that swarm up and swarm dashboard print: it lets this browser in.';

/** Who looks, and how to end it when the coordinator says that the token is no good any more. */
export function useSignIn(): { readonly signIn: SignIn; readonly signOut: (reason: string) => void } {
  const [signIn, setSignIn] = useState<SignIn>(() => (CODE.test(location.hash) ? { kind: 'signing-in' } : fromKept()));
  const signOut = useCallback((reason: string) => {
    sessionStorage.removeItem(KEPT);
    setSignIn({ kind: 'out', reason });
  }, []);
  useEffect(() => {
    const onHash = () => {
      const code = CODE.exec(location.hash)?.[1];
      if (code === undefined) return;
      // The code must not stay in the history.
      history.replaceState(null, '', '#/');
      redeemCode(location.origin, code).then(
        ({ token }) => {
          sessionStorage.setItem(KEPT, token);
          setSignIn(toSignedIn(token));
        },
        (error: unknown) => signOut(error instanceof Error ? error.message : String(error)),
      );
    };
    onHash();
    addEventListener('hashchange', onHash);
    return () => removeEventListener('hashchange', onHash);
  }, [signOut]);
  return { signIn, signOut };
}

function fromKept(): SignIn {
  const token = sessionStorage.getItem(KEPT);
  return token === null ? { kind: 'out', reason: NO_LINK } : toSignedIn(token);
}

function toSignedIn(token: string): SignIn {
  return { kind: 'in', client: new SwarmClient(new BrowserSession(location.origin, token)) };
}
