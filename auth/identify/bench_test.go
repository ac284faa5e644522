package identify

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// thousands are n clients, each with four kinds of evidence.
func thousands(n int) []Client {
	clients := make([]Client, n)
	for i := range clients {
		name := fmt.Sprint("client-", i)
		clients[i] = Client{Name: name, Match: []Match{
			{UID: new(uint32(10000 + i))},
			{TokenSHA256: sha(benchmarkToken(i))},
			{Certificate: &CertificateMatch{CommonName: name}},
			{OIDC: &OIDCMatch{Issuer: "https://login.example.org", Audience: "kuberelay", Claim: "email", Value: name + "@example.org"}},
		}}
	}
	return clients
}

func BenchmarkNewDirectoryOf10000Clients(b *testing.B) {
	clients := thousands(10000)
	for b.Loop() {
		newDirectory(b, clients, Options{})
	}
}

func benchmarkToken(n int) string { return fmt.Sprintf("kuberelay_%043d", n) }

// kubectl's headers, besides Authorization.
var usual = []string{"Accept: application/json", "Accept-Encoding: gzip", "User-Agent: kubectl/v1.37.2", "Kubectl-Command: kubectl get", "Kubectl-Session: 9d2c"}

func benchmark(b *testing.B, d *Directory, r *http.Request, p *Peer) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Identify(b.Context(), r, p, everything()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIdentifyByUID(b *testing.B) {
	benchmark(b, newDirectory(b, thousands(10000), Options{}), request(b, usual...), local(15000))
}

func BenchmarkIdentifyByToken(b *testing.B) {
	benchmark(b, newDirectory(b, thousands(10000), Options{}), request(b, append(usual, bearer(benchmarkToken(5000)))...), remote())
}

func BenchmarkIdentifyByMintedToken(b *testing.B) {
	m := NewMinter(nil)
	token, _ := m.Mint("client-5000", 15000, 1<<40)
	benchmark(b, newDirectory(b, thousands(10000), Options{Minter: m}), request(b, append(usual, bearer(token))...), local(15000))
}

func BenchmarkIdentifyByCertificate(b *testing.B) {
	c := newClock()
	r := request(b, usual...)
	r.TLS = verified(leaf("client-5000", c.now()), leaf("CA", c.now()))
	benchmark(b, newDirectory(b, thousands(10000), Options{Now: c.now}), r, remote())
}

func BenchmarkIdentifyByKnownIDToken(b *testing.B) {
	s := newIssuerServer(b, newClock())
	benchmark(b, s.directory(b, s.newIssuers(b)), request(b, append(usual, bearer(s.token(b, nil)))...), remote())
}

func BenchmarkVerifyIDToken(b *testing.B) {
	s := newIssuerServer(b, newClock())
	d := s.directory(b, s.newIssuers(b))
	token := sign(b, jose.RS256, "rsa", s.rsa, s.claims(nil))
	known := d.issuers[s.URL].issuer
	keys, err := known.current(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, refusal := known.verify(b.Context(), token, keys); refusal != nil {
			b.Fatal(refusal)
		}
	}
}
