package identify

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// leaf is a certificate of the name, valid for an hour around the clock's time.
func leaf(name string, now time.Time) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(0x2f01), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-30 * time.Minute), NotAfter: now.Add(30 * time.Minute),
	}
}

// verified is the state of a connection whose client certificate the listener
// has verified.
func verified(chain ...*x509.Certificate) *tls.ConnectionState {
	return &tls.ConnectionState{PeerCertificates: chain[:1], VerifiedChains: [][]*x509.Certificate{chain}}
}

func TestExactlyOneClientResultsFromAllEvidence(t *testing.T) {
	c := newClock()
	minter := NewMinter(c.now)
	d := newDirectory(t, team(c.now().Add(time.Hour)), Options{Minter: minter, Now: c.now})
	ca := leaf("CA", c.now())
	aliceCert, bobCert, strangerCert := leaf("alice", c.now()), leaf("bob", c.now()), leaf("mallory", c.now())
	minted := func(client string, uid uint32) string {
		token, _ := minter.Mint(client, uid, 10*time.Minute)
		return token
	}
	websocket := []string{"Connection: Upgrade", "Upgrade: websocket"}
	with := func(lines ...string) []string { return append(slices.Clone(websocket), lines...) }

	for name, c := range map[string]struct {
		accepted Accepted
		peer     *Peer
		tls      *tls.ConnectionState
		lines    []string

		client, method, id string
		reason             string
	}{
		// One kind alone.
		"the peer's uid": {accept(UID), local(1001), nil, nil, "alice", "uid", "uid:1001", ""},
		"the uid of a user who is matched by name":      {accept(UID), local(1002), nil, nil, "bob", "uid", "uid:1002", ""},
		"uid 0 where it is written":                     {accept(UID), local(0), nil, nil, "root", "uid", "uid:0", ""},
		"a configured token":                            {accept(Bearer), remote(), nil, []string{bearer(aliceToken)}, "alice", "bearer", "token:" + sha(aliceToken)[:8], ""},
		"the scheme in another case":                    {accept(Bearer), remote(), nil, []string{"Authorization: bEARER " + aliceToken}, "alice", "bearer", "token:" + sha(aliceToken)[:8], ""},
		"the header's name in another case":             {accept(Bearer), remote(), nil, []string{"aUTHORIZATION: Bearer " + aliceToken}, "alice", "bearer", "token:" + sha(aliceToken)[:8], ""},
		"a certificate":                                 {accept(Certificate), remote(), verified(aliceCert, ca), nil, "alice", "certificate", "certificate:2f01", ""},
		"a minted token of the peer's uid":              {accept(Bearer), local(1001), nil, []string{bearer(minted("alice", 1001))}, "alice", "bearer", "minted:uid:1001", ""},
		"a minted token from a Unix socket":             {accept(Bearer), &Peer{UID: 1001, UIDKnown: true, Unix: true}, nil, []string{bearer(minted("alice", 1001))}, "alice", "bearer", "minted:uid:1001", ""},
		"a minted token from another machine":           {accept(Bearer), remote(), nil, []string{bearer(minted("alice", 1001))}, "alice", "bearer", "minted:uid:1001", ""},
		"a token among the websocket subprotocols":      {accept(Bearer), remote(), nil, with("Sec-WebSocket-Protocol: " + subprotocol(aliceToken) + ", v5.channel.k8s.io"), "alice", "bearer", "token:" + sha(aliceToken)[:8], ""},
		"a subprotocol token in a header of its own":    {accept(Bearer), remote(), nil, with("sec-websocket-protocol: v5.channel.k8s.io", "Sec-Websocket-Protocol: "+subprotocol(aliceToken)), "alice", "bearer", "token:" + sha(aliceToken)[:8], ""},
		"a subprotocol token where no upgrade is asked": {accept(UID, Bearer), local(1001), nil, []string{"Sec-WebSocket-Protocol: " + subprotocol(bobToken) + ", x"}, "alice", "uid", "uid:1001", ""},

		// Several that agree.
		"uid and token of one client":                {everything(), local(1001), nil, []string{bearer(aliceToken)}, "alice", "uid+bearer", "uid:1001+token:" + sha(aliceToken)[:8], ""},
		"uid, token and certificate of one client":   {everything(), local(1001), verified(aliceCert), []string{bearer(aliceToken)}, "alice", "uid+bearer+certificate", "uid:1001+token:" + sha(aliceToken)[:8] + "+certificate:2f01", ""},
		"the same token in header and subprotocol":   {everything(), remote(), nil, with(bearer(aliceToken), "Sec-WebSocket-Protocol: "+subprotocol(aliceToken)+",x"), "alice", "bearer", "token:" + sha(aliceToken)[:8], ""},
		"two tokens of one client":                   {everything(), local(1001), nil, with(bearer(minted("alice", 1001)), "Sec-WebSocket-Protocol: "+subprotocol(aliceToken)+",x"), "alice", "uid+bearer", "uid:1001+minted:uid:1001+token:" + sha(aliceToken)[:8], ""},
		"a uid of nobody leaves it to the token":     {everything(), local(4711), nil, []string{bearer(aliceToken)}, "alice", "bearer", "token:" + sha(aliceToken)[:8], ""},
		"a uid that is not accepted is not evidence": {accept(Bearer), local(1002), nil, []string{bearer(aliceToken)}, "alice", "bearer", "token:" + sha(aliceToken)[:8], ""},
		"a uid that is not known is not evidence":    {everything(), &Peer{UID: 1002, Loopback: true}, nil, []string{bearer(aliceToken)}, "alice", "bearer", "token:" + sha(aliceToken)[:8], ""},

		// Several that do not.
		"uid and token of two clients":                    {everything(), local(1002), nil, []string{bearer(aliceToken)}, "", "", "", ReasonConflict},
		"certificate and token of two clients":            {everything(), remote(), verified(bobCert), []string{bearer(aliceToken)}, "", "", "", ReasonConflict},
		"uid and certificate of two clients":              {everything(), local(1001), verified(bobCert), nil, "", "", "", ReasonConflict},
		"header and subprotocol of two clients":           {everything(), remote(), nil, with(bearer(aliceToken), "Sec-WebSocket-Protocol: "+subprotocol(bobToken)+",x"), "", "", "", ReasonConflict},
		"a valid uid beside a token that is not valid":    {everything(), local(1001), nil, []string{bearer("canary-wrong")}, "", "", "", ReasonInvalidToken},
		"a valid token beside a stranger's certificate":   {everything(), remote(), verified(strangerCert), []string{bearer(aliceToken)}, "", "", "", ReasonUnknownClient},
		"a valid token beside an unverified certificate":  {everything(), remote(), &tls.ConnectionState{PeerCertificates: []*x509.Certificate{aliceCert}}, []string{bearer(aliceToken)}, "", "", "", ReasonInvalidCertificate},
		"a valid header beside a subprotocol that is not": {everything(), remote(), nil, with(bearer(aliceToken), "Sec-WebSocket-Protocol: "+subprotocol("canary-wrong")+",x"), "", "", "", ReasonInvalidToken},

		// Nothing.
		"nothing from another machine":         {everything(), remote(), nil, nil, "", "", "", ReasonNothingPresented},
		"nothing where tokens are accepted":    {accept(Bearer), local(1001), nil, nil, "", "", "", ReasonNothingPresented},
		"nothing where nothing is accepted":    {Accepted{}, local(1001), nil, nil, "", "", "", ReasonNothingPresented},
		"a uid of nobody alone":                {everything(), local(4711), nil, nil, "", "", "", ReasonUnknownClient},
		"a local peer whose uid is not known":  {everything(), &Peer{Loopback: true}, nil, nil, "", "", "", ReasonUIDUnknown},
		"a uid 0 that is not known":            {accept(UID), &Peer{Loopback: true}, nil, nil, "", "", "", ReasonUIDUnknown},
		"a remote peer where only uids count":  {accept(UID), remote(), nil, nil, "", "", "", ReasonUIDUnknown},
		"no peer":                              {accept(UID), nil, nil, nil, "", "", "", ReasonUIDUnknown},
		"a TLS connection without certificate": {accept(Certificate), remote(), &tls.ConnectionState{}, nil, "", "", "", ReasonNothingPresented},

		// What the listener does not take.
		"a token where only uids count":             {accept(UID), local(1001), nil, []string{bearer(aliceToken)}, "", "", "", ReasonMethodNotAccepted},
		"Basic where only uids count":               {accept(UID), local(1001), nil, []string{"Authorization: Basic Y2FuYXJ5OmNhbmFyeQ=="}, "", "", "", ReasonMethodNotAccepted},
		"a subprotocol token where only uids count": {accept(UID), local(1001), nil, with("Sec-WebSocket-Protocol: " + subprotocol(aliceToken) + ",x"), "", "", "", ReasonMethodNotAccepted},
		"a configured token where OIDC counts":      {accept(OIDC), remote(), nil, []string{bearer(aliceToken)}, "", "", "", ReasonMethodNotAccepted},
		"a minted token where OIDC counts":          {accept(OIDC), local(1001), nil, []string{bearer(minted("alice", 1001))}, "", "", "", ReasonMethodNotAccepted},
		"a certificate where tokens count":          {accept(Bearer), remote(), verified(aliceCert), []string{bearer(aliceToken)}, "", "", "", ReasonMethodNotAccepted},

		// Tokens that are not valid.
		"a token of nobody":                                {everything(), remote(), nil, []string{bearer("canary-wrong")}, "", "", "", ReasonInvalidToken},
		"a JWT of nobody":                                  {everything(), remote(), nil, []string{bearer("eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL3gifQ.")}, "", "", "", ReasonInvalidToken},
		"a token that is too long":                         {everything(), remote(), nil, []string{bearer(strings.Repeat("x", maxToken+1))}, "", "", "", ReasonInvalidToken},
		"a minted token of another process":                {everything(), remote(), nil, []string{bearer(foreign(t))}, "", "", "", ReasonInvalidToken},
		"a minted token from another local user":           {accept(Bearer), local(1002), nil, []string{bearer(minted("alice", 1001))}, "", "", "", ReasonUIDMismatch},
		"a minted token from another user's Unix socket":   {accept(Bearer), &Peer{UID: 0, UIDKnown: true, Unix: true}, nil, []string{bearer(minted("alice", 1001))}, "", "", "", ReasonUIDMismatch},
		"a minted token from a local peer without uid":     {accept(Bearer), &Peer{UID: 1001, Loopback: true}, nil, []string{bearer(minted("alice", 1001))}, "", "", "", ReasonUIDUnknown},
		"a minted token from a peer that is not known":     {accept(Bearer), nil, nil, []string{bearer(minted("alice", 1001))}, "", "", "", ReasonUIDUnknown},
		"a minted token of a client that has gone":         {accept(Bearer), remote(), nil, []string{bearer(minted("carol", 1003))}, "", "", "", ReasonUnknownClient},
		"a minted token of a uid that is another's now":    {accept(Bearer), remote(), nil, []string{bearer(minted("alice", 1002))}, "", "", "", ReasonUnknownClient},
		"a certificate without a name":                     {accept(Certificate), remote(), verified(leaf("", c.now())), nil, "", "", "", ReasonUnknownClient},
		"a certificate that is in an empty verified chain": {accept(Certificate), remote(), &tls.ConnectionState{PeerCertificates: []*x509.Certificate{aliceCert}, VerifiedChains: [][]*x509.Certificate{{}}}, nil, "", "", "", ReasonInvalidCertificate},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(t, c.lines...)
			r.TLS = c.tls
			i, err := d.Identify(t.Context(), r, c.peer, c.accepted)
			if got := reason(t, err); got != c.reason {
				t.Fatalf("refused with %q, want %q (%v)", got, c.reason, err)
			}
			if i.Client != c.client || i.Method() != c.method || i.ID() != c.id {
				t.Errorf("client %q by %q (%q), want %q by %q (%q)", i.Client, i.Method(), i.ID(), c.client, c.method, c.id)
			}
			if err == nil && !i.AcceptedBy(c.accepted) {
				t.Errorf("accepted by %s, and AcceptedBy says no", c.accepted)
			}
			if err != nil && (i != Identity{}) {
				t.Errorf("a refusal comes with the identity %s", i)
			}
		})
	}
}

// foreign is a token of another process.
func foreign(t *testing.T) string {
	t.Helper()
	token, _ := NewMinter(nil).Mint("alice", 1001, time.Hour)
	return token
}

func TestCredentialsAreNeverReadAsNone(t *testing.T) {
	d := newDirectory(t, team(time.Time{}), Options{})
	upgrade := []string{"Connection: keep-alive, Upgrade", "Upgrade: WebSocket"}
	good := subprotocol(aliceToken)
	for name, lines := range map[string][]string{
		"an empty header":                         {"Authorization: "},
		"a header of white space":                 {"Authorization:   "},
		"the scheme alone":                        {"Authorization: Bearer"},
		"the scheme and a space":                  {"Authorization: Bearer "},
		"a token alone":                           {"Authorization: " + aliceToken},
		"Basic":                                   {"Authorization: Basic Y2FuYXJ5OmNhbmFyeQ=="},
		"Negotiate":                               {"Authorization: Negotiate abc"},
		"two spaces before the token":             {"Authorization: Bearer  " + aliceToken},
		"a space in the token":                    {"Authorization: Bearer " + aliceToken + " x"},
		"a space after the token":                 {"Authorization: Bearer " + aliceToken + " "},
		"a tab before the token":                  {"Authorization: Bearer\t" + aliceToken},
		"a control character":                     {"Authorization: Bearer " + aliceToken + "\x00"},
		"a character that is not ASCII":           {"Authorization: Bearer " + aliceToken + "é"},
		"two equal headers":                       {bearer(aliceToken), bearer(aliceToken)},
		"a header and an empty one":               {bearer(aliceToken), "Authorization: "},
		"two spellings of the header":             {bearer(aliceToken), "authorization: Bearer " + aliceToken},
		"two subprotocol tokens":                  append(slices.Clone(upgrade), "Sec-WebSocket-Protocol: "+good+","+good+",x"),
		"two subprotocol tokens in two headers":   append(slices.Clone(upgrade), "Sec-Websocket-Protocol: "+good, "sec-websocket-protocol: "+good+",x"),
		"a subprotocol token alone":               append(slices.Clone(upgrade), "Sec-WebSocket-Protocol: "+good),
		"a subprotocol token beside nothing":      append(slices.Clone(upgrade), "Sec-WebSocket-Protocol: "+good+", ,"),
		"an empty subprotocol token":              append(slices.Clone(upgrade), "Sec-WebSocket-Protocol: "+subprotocolPrefix+",x"),
		"a padded subprotocol token":              append(slices.Clone(upgrade), "Sec-WebSocket-Protocol: "+subprotocolPrefix+"YQ==,x"),
		"a subprotocol token in another alphabet": append(slices.Clone(upgrade), "Sec-WebSocket-Protocol: "+subprotocolPrefix+"a+/a,x"),
		"a second spelling of a token":            append(slices.Clone(upgrade), "Sec-WebSocket-Protocol: "+subprotocolPrefix+"YR,x"),
		"a line break in a subprotocol token":     append(slices.Clone(upgrade), "Sec-WebSocket-Protocol: "+good[:len(good)-4]+"\n"+good[len(good)-4:]+",x"),
		"a subprotocol token with a space in it":  append(slices.Clone(upgrade), "Sec-WebSocket-Protocol: "+subprotocol("a b")+",x"),
		"a subprotocol token that is not UTF-8":   append(slices.Clone(upgrade), "Sec-WebSocket-Protocol: "+subprotocol("a\xff")+",x"),
		"a good header and a bad subprotocol":     append(slices.Clone(upgrade), bearer(aliceToken), "Sec-WebSocket-Protocol: "+good),
	} {
		t.Run(name, func(t *testing.T) {
			// The uid alone would do.
			i, err := d.Identify(t.Context(), request(t, lines...), local(1001), everything())
			if got := reason(t, err); got != ReasonMalformed {
				t.Errorf("refused with %q, want %q; the client is %q", got, ReasonMalformed, i.Client)
			}
		})
	}
}

func TestSubprotocolPrefixInAnyCaseIsAToken(t *testing.T) {
	d := newDirectory(t, team(time.Time{}), Options{})
	lines := []string{"Connection: upgrade", "Upgrade: h2c, websocket", "Sec-WebSocket-Protocol: x, " + strings.Replace(subprotocol(bobToken), "base64url.bearer", "Base64URL.BEARER", 1)}
	if _, err := d.Identify(t.Context(), request(t, lines...), local(1001), everything()); reason(t, err) != ReasonConflict {
		t.Errorf("error = %v, want a conflict of the uid and the token", err)
	}
}

func TestEvidenceExpires(t *testing.T) {
	c := newClock()
	begin := c.now()
	minter := NewMinter(c.now)
	d := newDirectory(t, team(begin.Add(40*time.Minute)), Options{Minter: minter, Now: c.now})
	minted, mintedUntil := minter.Mint("alice", 1001, 20*time.Minute)
	withCert := func(r *http.Request, chain ...*x509.Certificate) *http.Request {
		r.TLS = verified(chain...)
		return r
	}
	early := leaf("CA", begin)
	early.NotAfter = begin.Add(10 * time.Minute)
	future := leaf("alice", begin.Add(2*time.Hour))

	for name, c2 := range map[string]struct {
		r       *http.Request
		expires time.Time
	}{
		"a configured token":                        {request(t, bearer(aliceToken)), begin.Add(40 * time.Minute)},
		"a configured token without expiry":         {request(t, bearer(bobToken)), time.Time{}},
		"a minted token":                            {request(t, bearer(minted)), mintedUntil},
		"a certificate":                             {withCert(request(t), leaf("alice", begin)), begin.Add(30 * time.Minute)},
		"a certificate whose CA expires before it":  {withCert(request(t), leaf("alice", begin), early), begin.Add(10 * time.Minute)},
		"the first of token and certificate counts": {withCert(request(t, bearer(aliceToken)), leaf("alice", begin)), begin.Add(30 * time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			i, err := d.Identify(t.Context(), c2.r, remote(), everything())
			if err != nil || !i.Expires.Equal(c2.expires) {
				t.Fatalf("expires at %v (%v), want %v", i.Expires, err, c2.expires)
			}
			if c2.expires.IsZero() {
				if err := d.Review(&i, begin.AddDate(100, 0, 0)); err != nil {
					t.Errorf("after a hundred years: %v", err)
				}
				return
			}
			if err := d.Review(&i, c2.expires.Add(-time.Nanosecond)); err != nil {
				t.Errorf("just before it expires: %v", err)
			}
			want := ReasonExpired
			if name == "a minted token" { // see TestMintedTokenThatExpiresEndsNothing
				want = ""
			}
			if err := d.Review(&i, c2.expires); reason(t, err) != want {
				t.Errorf("when it expires: %v, want %q", err, want)
			}
		})
	}
	if _, err := d.Identify(t.Context(), withCert(request(t), future), remote(), everything()); reason(t, err) != ReasonExpired {
		t.Errorf("a certificate of the future: %v, want a refusal", err)
	}
	c.advance(time.Hour)
	for name, r := range map[string]*http.Request{
		"configured token": request(t, bearer(aliceToken)), "minted token": request(t, bearer(minted)), "certificate": withCert(request(t), leaf("alice", begin)),
	} {
		if _, err := d.Identify(t.Context(), r, local(1001), everything()); reason(t, err) != ReasonExpired {
			t.Errorf("%s an hour later: %v, want it refused, though the uid is alice's", name, err)
		}
	}
}

func TestWhyAUserIsNotKnownIsForTheOperatorAlone(t *testing.T) {
	const why = "SO_PEERCRED: no such thing"
	minter := NewMinter(nil)
	d := newDirectory(t, team(time.Time{}), Options{Minter: minter})
	minted, _ := minter.Mint("alice", 1001, time.Minute)
	for name, c := range map[string]struct {
		r        *http.Request
		accepted Accepted
	}{
		"no other evidence": {request(t), accept(UID)},
		"a minted token":    {request(t, bearer(minted)), accept(Bearer)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := d.Identify(t.Context(), c.r, &Peer{Unix: true, Why: why}, c.accepted)
			if got := reason(t, err); got != ReasonUIDUnknown {
				t.Fatalf("refused with %q, want %q", got, ReasonUIDUnknown)
			}
			if cause := errors.Unwrap(err); cause == nil || !strings.Contains(cause.Error(), why) {
				t.Errorf("the cause is %v, want %q in it", cause, why)
			}
			if strings.Contains(err.Error(), why) {
				t.Errorf("the client is told %q", err)
			}
		})
	}
}

func TestMessagesSayWhatToDo(t *testing.T) {
	d := newDirectory(t, team(time.Time{}), Options{})
	for _, c := range []struct {
		peer     *Peer
		accepted Accepted
		lines    []string
		want     []string
	}{
		{local(4711), everything(), nil, []string{"4711", "uid: 4711"}},
		{remote(), accept(Bearer, OIDC), nil, []string{"bearer, oidc"}},
		{local(1001), accept(UID), []string{bearer(aliceToken)}, []string{"accepts only uid"}},
		{local(1002), everything(), []string{bearer(aliceToken)}, []string{"uid:1002", "token:" + sha(aliceToken)[:8]}},
	} {
		_, err := d.Identify(t.Context(), request(t, c.lines...), c.peer, c.accepted)
		for _, want := range c.want {
			if !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("message %q does not have %q", err, want)
			}
		}
	}
}

func TestNothingSecretIsPrinted(t *testing.T) {
	c := newClock()
	key := [32]byte([]byte("canary-key-canary-key-canary-key"))
	minter := newMinter(key, c.now)
	o := Options{Minter: minter, Now: c.now, LookupUser: users}
	d := newDirectory(t, team(time.Time{}), o)
	token, _ := minter.Mint("alice", 1001, time.Hour)
	i, err := d.Identify(t.Context(), request(t, bearer(token), "Connection: upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Protocol: x,"+subprotocol(aliceToken)), local(1001), everything())
	if err != nil {
		t.Fatal(err)
	}
	_, refusal := d.Identify(t.Context(), request(t, bearer("canary-wrong")), local(1001), everything())
	nested := struct {
		i Identity
		o Options
		d *Directory
		m *Minter
		e error
	}{i, o, d, minter, refusal}
	bytes := strings.Trim(fmt.Sprintf("%d", key[:8]), "[]")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		for _, v := range []any{i, &i, d, minter, o, refusal, nested, &nested, errors.Unwrap(refusal)} {
			text := fmt.Sprintf(verb, v)
			for _, secret := range []string{"canary", token[len(mintedPrefix):], sha(aliceToken), bytes, fmt.Sprintf("%x", key[:8])} {
				if strings.Contains(text, secret) {
					t.Errorf("%s of %T shows %q: %s", verb, v, secret, text)
				}
			}
		}
	}
	if got := fmt.Sprintf("%+v", i); !strings.HasPrefix(got, "alice (uid:1001+") {
		t.Errorf("the identity prints as %q", got)
	}
}
