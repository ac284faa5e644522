package identify

import "time"

// Method is a kind of evidence that a listener accepts.
type Method string

// The methods.
const (
	// UID is the user ID of the peer's process: on a Unix socket SO_PEERCRED's,
	// on a loopback TCP connection that of the socket at the other end.
	UID Method = "uid"
	// Bearer is a token: a configured one, or one that this process has minted.
	Bearer Method = "bearer"
	// Certificate is a TLS client certificate of the listener's own CA.
	Certificate Method = "certificate"
	// OIDC is an OpenID Connect ID token.
	OIDC Method = "oidc"
)

// Methods are all methods, in the order of their documentation.
func Methods() []Method { return []Method{UID, Bearer, Certificate, OIDC} }

// Client is a client's name and what it is recognised by: any one of Match.
type Client struct {
	Name  string
	Match []Match
}

// Match is one thing that a client is recognised by. Exactly one of UID,
// UnixUser, TokenSHA256, Certificate and OIDC is set.
type Match struct {
	// UID is the numeric user ID of the client's processes. 0 matches only
	// where it is written.
	UID *uint32 `yaml:"uid"`

	// UnixUser is the name of the user of the client's processes, looked up in
	// the system's user database when the configuration is loaded.
	UnixUser string `yaml:"unixUser"`

	// TokenSHA256 is the lower-case hex SHA-256 of a bearer token's bytes, as
	// kuberelay token prints it.
	TokenSHA256 string `yaml:"tokenSHA256"`

	// Expires is when TokenSHA256 stops matching, in RFC 3339. Default never.
	Expires time.Time `yaml:"expires"`

	// Certificate is a client certificate of the listener's own CA.
	Certificate *CertificateMatch `yaml:"certificate"`

	// OIDC is an OpenID Connect ID token.
	OIDC *OIDCMatch `yaml:"oidc"`
}

// CertificateMatch recognises a client certificate that the listener's CA has
// signed for client authentication.
type CertificateMatch struct {
	// CommonName is the subject's common name.
	CommonName string `yaml:"commonName"`
}

// OIDCMatch recognises an ID token by its issuer, audience and one claim.
type OIDCMatch struct {
	// Issuer is the issuer's URL, as the token's iss claim has it; https.
	Issuer string `yaml:"issuer"`

	// CAFile holds the certificates, in PEM, that the issuer's own is verified
	// with. Default: the system's.
	CAFile string `yaml:"caFile"`

	// Audience is what the token's aud claim must contain: kuberelay's client
	// ID at the issuer.
	Audience string `yaml:"audience"`

	// Claim is the name of the claim that Value is compared with. Default sub.
	// With email, the token's email_verified claim must be true.
	Claim string `yaml:"claim"`

	// Value is what the claim must be: the string itself, or one of a list of
	// strings.
	Value string `yaml:"value"`
}
