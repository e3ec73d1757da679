// Where the server wants a token, its issuer is asked for one: OpenID Connect's code flow, with PKCE and without a secret.

let provider = null;

const redirect = () => ({ client_id: provider.client_id, redirect_uri: location.origin + location.pathname });

const base64url = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)))
  .replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

/** The headers that say who asks. */
export const signed = () => provider && sessionStorage.token ? { authorization: `Bearer ${sessionStorage.token}` } : {};

/** Whether a refusal for want of a token can be mended by signing in. */
export const isWanted = (status) => status === 401 && provider !== null;

/** Leave for the issuer, which leads back here. */
export async function signIn() {
  sessionStorage.removeItem("token");
  Object.assign(sessionStorage, { verifier: random(), state: random(), address: location.hash });
  const challenge = base64url(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(sessionStorage.verifier)));
  const asked = {
    ...redirect(), response_type: "code", scope: "openid", state: sessionStorage.state,
    code_challenge: challenge, code_challenge_method: "S256",
  };
  location.assign(`${provider.authorization_endpoint}?${new URLSearchParams(asked)}`);
  await new Promise(() => {});
}

/** Have a token where the server wants one. Throws TypeError where the issuer gives none. */
export async function start() {
  const found = await fetch("sign-in").then((answer) => answer.ok ? answer.json() : {});
  if (!found.client_id) return;
  provider = found;
  const returned = new URLSearchParams(location.search);
  if (returned.has("state")) await redeem(returned);
  if (!sessionStorage.token) await signIn();
}

async function redeem(returned) {
  history.replaceState(null, "", location.pathname + (sessionStorage.address || ""));
  if (returned.get("state") !== sessionStorage.state || !returned.has("code")) throw new TypeError("not signed in");
  const asked = {
    ...redirect(), grant_type: "authorization_code", code: returned.get("code"), code_verifier: sessionStorage.verifier,
  };
  const answer = await fetch(provider.token_endpoint, { method: "POST", body: new URLSearchParams(asked) });
  sessionStorage.token = (await answer.json()).id_token || "";
  if (!sessionStorage.token) throw new TypeError("no token");
}
