// Package auth decides as whom the cluster is called: it keeps a kubeconfig's
// user and the credentials of the configuration fresh, and rebuilds a request's
// headers around them.
//
// A [Kubeconfig] is one user of one kubeconfig, live: its files are re-read
// when they change, its exec plugin is run when a credential is first needed
// and again before the credential expires. What connections are made of (URL,
// TLS, egress proxy) is an [Endpoint]; what a request carries (Authorization,
// impersonation) is a [Lease]. Both are immutable snapshots, read on the hot
// path with one atomic load. [Rebuild] turns a client's headers and a lease
// into the headers that go upstream.
//
// A [Credential] is a daemon's: a token file, a client certificate, an exec
// plugin, the user of a kubeconfig, or a service account's token. The same
// machinery keeps it fresh under stricter rules; it has no Endpoint and is used
// at whichever cluster a grant names.
//
// Kubeconfig loading, the exec plugins' protocol, TLS options and the legacy
// auth providers are client-go's. The header injection is not: client-go's
// round trippers let a client's Impersonate-Group join the configured groups,
// share credentials process-wide and run plugins without a timeout
// (kubernetes/kubernetes#108849), which a proxy cannot afford.
//
// A credential never leaves the package but through [Secret.Reveal] and
// [Rebuild]: no error, log line or metric holds one.
package auth
