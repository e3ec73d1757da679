// Signing in, where the server wants a token: OpenID Connect's code flow at the token's issuer, with PKCE and without a secret.

let provider = null;

/** The headers of who is signed in. */
export const signed = () => provider && sessionStorage.token ? { authorization: `Bearer ${sessionStorage.token}` } : {};

/** Whether the server wants people to be signed in. */
export const isWanted = () => provider !== null;

const base64url = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)))
  .replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));
const redirect = () => ({ client_id: provider.client_id, redirect_uri: location.origin + location.pathname });

/** Leaves for the issuer, which leads back here. */
export async function signIn() {
  const verifier = random();
  sessionStorage.removeItem("token");
  Object.assign(sessionStorage, { verifier, state: random(), address: location.hash });
  const challenge = base64url(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier)));
  const asked = {
    ...redirect(), response_type: "code", scope: "openid", state: sessionStorage.state,
    code_challenge: challenge, code_challenge_method: "S256",
  };
  location.assign(`${provider.authorization_endpoint}?${new URLSearchParams(asked)}`);
  await new Promise(() => {});  // the page is left
}

/** Makes sure that somebody is signed in, if the server wants that. Raises when they could not be. */
export async function start() {
  const found = await fetch("sign-in").then((answer) => answer.ok ? answer.json() : {});
  if (!found.client_id) return;
  provider = found;
  const returned = new URLSearchParams(location.search);
  if (returned.has("state")) await takeToken(returned);
  if (!sessionStorage.token) await signIn();
}

async function takeToken(returned) {
  history.replaceState(null, "", location.pathname + (sessionStorage.address || ""));
  if (returned.get("state") !== sessionStorage.state || !returned.has("code")) throw new TypeError("not signed in");
  const asked = { ...redirect(), grant_type: "authorization_code", code: returned.get("code"), code_verifier: sessionStorage.verifier };
  const answer = await fetch(provider.token_endpoint, { method: "POST", body: new URLSearchParams(asked) });
  sessionStorage.token = (await answer.json()).id_token || "";
  if (!sessionStorage.token) throw new TypeError("no token");
}
