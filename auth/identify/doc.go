// Package identify answers who is calling: it turns what a request and its
// connection present (the peer's uid, a bearer token, a client certificate, an
// OpenID Connect token) into exactly one configured client, or refuses.
package identify
