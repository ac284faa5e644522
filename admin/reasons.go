package admin

// Reasons of [Metrics.Denied] that exist from the start.
const (
	DeniedHost            = "host"
	DeniedPath            = "path"
	DeniedMethod          = "method"
	DeniedCrossSite       = "cross_site"      // a browser's request for a page of another site
	DeniedUnauthenticated = "unauthenticated" // no client, or not exactly one (401)
	DeniedRevoked         = "revoked"         // the client is revoked (401)
	DeniedForbidden       = "forbidden"       // no grant, or its policy does not allow it (403)
	DeniedImpersonation   = "impersonation"   // --as that the client may not use (403)
	DeniedBadPath         = "bad_path"        // not the one way to write a path (400)
	DeniedLimit           = "limit"           // over one of the client's limits (429)
	DeniedCredential      = "credential"      // the grant's credential cannot be had (503)
	DeniedAudit           = "audit"           // its event cannot be written (503)
)

var deniedReasons = []string{DeniedHost, DeniedPath, DeniedMethod, DeniedCrossSite, DeniedUnauthenticated, DeniedRevoked, DeniedForbidden,
	DeniedImpersonation, DeniedBadPath, DeniedLimit, DeniedCredential, DeniedAudit}

// Denied counts a request that kuberelay refused. The reason is one of the
// constants or another word fixed in the code.
func (m *Metrics) Denied(reason string) { m.deniedCache.get(reason).Inc() }

// Reasons of [Metrics.Retry] that exist from the start, for each cluster.
const (
	RetryConnect      = "connect"       // no connection: refused, unreachable, timed out
	RetryCertificate  = "certificate"   // the server's certificate does not verify
	RetryUnprocessed  = "unprocessed"   // REFUSED_STREAM or GOAWAY: the server did not look at it
	RetryStale        = "stale"         // a kept-alive connection was closed in the same moment
	RetryNoResponse   = "no_response"   // sent, then the connection broke or the time was up
	RetryShuttingDown = "shutting_down" // the server says it is stopping or not yet started
	RetryInitializing = "initializing"  // its watch cache is still filling
	RetryUnavailable  = "unavailable"   // 502, 503 or 504
	RetryUnauthorized = "unauthorized"  // repeated with a refreshed credential
)

var retryReasons = []string{RetryConnect, RetryCertificate, RetryUnprocessed, RetryStale, RetryNoResponse,
	RetryShuttingDown, RetryInitializing, RetryUnavailable, RetryUnauthorized}

// Retry counts a further attempt for a request. The reason is one of the
// constants or another word fixed in the code.
func (m *Metrics) Retry(cluster, reason string) { m.retryCache.get(pair{cluster, reason}).Inc() }
