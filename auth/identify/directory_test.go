package identify

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestEveryProblemIsFoundAndPlaced(t *testing.T) {
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(notPEM, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	oidc := func(change func(m *OIDCMatch)) Match {
		m := OIDCMatch{Issuer: "https://login.example.org", Audience: "kuberelay", Claim: "email", Value: "a@example.org"}
		change(&m)
		return Match{OIDC: &m}
	}
	same := func(*OIDCMatch) {}
	one := func(m ...Match) []Client { return []Client{{Name: "alice", Match: m}} }
	two := func(a, b Match) []Client {
		return []Client{{Name: "alice", Match: []Match{a}}, {Name: "bob", Match: []Match{{UID: new(uint32(7))}, b}}}
	}
	const inTwo = "clients[1].match[1]."

	for name, c := range map[string]struct {
		clients []Client
		path    string   // "" for no problem
		says    []string // what the message has
	}{
		"a client without a name":             {[]Client{{Match: []Match{{UID: new(uint32(1))}}}}, "clients[0].name", nil},
		"two clients of one name":             {[]Client{{Name: "a"}, {Name: "a"}}, "clients[1].name", []string{"clients[0]"}},
		"a client with a name of Kubernetes'": {[]Client{{Name: "system:admin"}}, "clients[0].name", nil},
		"an empty match":                      {one(Match{}), "clients[0].match[0]", []string{"0 of", "exactly one"}},
		"a match of two kinds":                {one(Match{UID: new(uint32(1)), UnixUser: "alice"}), "clients[0].match[0]", []string{"2 of", "exactly one"}},
		"an expiry without a token":           {one(Match{UID: new(uint32(1)), Expires: time.Now()}), "clients[0].match[0].expires", nil},

		"a uid of nobody":                   {one(Match{UID: new(uint32(noUID))}), "clients[0].match[0].uid", nil},
		"uid 0 as it is written":            {one(Match{UID: new(uint32(0))}), "", nil},
		"the overflow uid as it is written": {one(Match{UID: new(uint32(overflowUID))}), "", nil},
		"a user that resolves to uid 0":     {one(Match{UnixUser: "root"}), "clients[0].match[0].unixUser", []string{"uid: 0"}},
		"a user that has the overflow uid":  {one(Match{UnixUser: "nobody"}), "clients[0].match[0].unixUser", []string{"uid: 65534"}},
		"a user that has nobody's uid":      {one(Match{UnixUser: "last"}), "clients[0].match[0].unixUser", nil},
		"a user that is not there":          {one(Match{UnixUser: "carol"}), "clients[0].match[0].unixUser", []string{"carol", "unknown user"}},
		"one user by uid and by name":       {one(Match{UID: new(uint32(1001))}, Match{UnixUser: "alice"}), "", nil},
		"a uid of two clients":              {two(Match{UID: new(uint32(9))}, Match{UID: new(uint32(9))}), inTwo + "uid", []string{`"alice"`, `"bob"`, "clients[0].match[0]"}},
		"a uid and a user of two clients":   {two(Match{UID: new(uint32(1001))}, Match{UnixUser: "alice"}), inTwo + "unixUser", []string{`"alice"`, `"bob"`}},
		"a token's hash that is too short":  {one(Match{TokenSHA256: "ab"}), "clients[0].match[0].tokenSHA256", []string{"kuberelay token"}},
		"a token's hash in upper case":      {one(Match{TokenSHA256: strings.ToUpper(sha("x"))}), "clients[0].match[0].tokenSHA256", nil},
		"a token's hash that is not hex":    {one(Match{TokenSHA256: strings.Repeat("g", 64)}), "clients[0].match[0].tokenSHA256", nil},
		"the hash of the empty token":       {one(Match{TokenSHA256: sha("")}), "clients[0].match[0].tokenSHA256", []string{"of nothing"}},
		"an expired token":                  {one(Match{TokenSHA256: sha("x"), Expires: time.Unix(1, 0)}), "", nil},
		"a token of two clients":            {two(Match{TokenSHA256: sha("x")}, Match{TokenSHA256: sha("x")}), inTwo + "tokenSHA256", []string{`"alice"`, `"bob"`}},
		"a token twice with two expiries":   {one(Match{TokenSHA256: sha("x")}, Match{TokenSHA256: sha("x"), Expires: time.Unix(1, 0)}), "clients[0].match[1].tokenSHA256", []string{"match[0]"}},
		"a certificate without a name":      {one(Match{Certificate: &CertificateMatch{}}), "clients[0].match[0].certificate.commonName", nil},
		"a certificate's name twice":        {one(Match{Certificate: &CertificateMatch{"a"}}, Match{Certificate: &CertificateMatch{"a"}}), "", nil},
		"a certificate's name of two":       {two(Match{Certificate: &CertificateMatch{"a"}}, Match{Certificate: &CertificateMatch{"a"}}), inTwo + "certificate.commonName", []string{`"alice"`, `"bob"`}},
		"an issuer":                         {one(oidc(same)), "", nil},
		"an issuer twice":                   {one(oidc(same), oidc(same)), "", nil},
		"an issuer over http":               {one(oidc(func(m *OIDCMatch) { m.Issuer = "http://login.example.org" })), "clients[0].match[0].oidc.issuer", []string{"https"}},
		"an issuer without a host":          {one(oidc(func(m *OIDCMatch) { m.Issuer = "https:///x" })), "clients[0].match[0].oidc.issuer", nil},
		"an issuer with a query":            {one(oidc(func(m *OIDCMatch) { m.Issuer += "?x" })), "clients[0].match[0].oidc.issuer", nil},
		"an issuer with a user":             {one(oidc(func(m *OIDCMatch) { m.Issuer = "https://u:p@login.example.org" })), "clients[0].match[0].oidc.issuer", nil},
		"an issuer that is no URL":          {one(oidc(func(m *OIDCMatch) { m.Issuer = "https://%zz" })), "clients[0].match[0].oidc.issuer", nil},
		"no audience":                       {one(oidc(func(m *OIDCMatch) { m.Audience = "" })), "clients[0].match[0].oidc.audience", []string{"client ID"}},
		"no value":                          {one(oidc(func(m *OIDCMatch) { m.Value = "" })), "clients[0].match[0].oidc.value", nil},
		"a value of Kubernetes'":            {one(oidc(func(m *OIDCMatch) { m.Value = "system:masters" })), "clients[0].match[0].oidc.value", []string{"system:"}},
		"a CA file that is not there":       {one(oidc(func(m *OIDCMatch) { m.CAFile = notPEM + "x" })), "clients[0].match[0].oidc.caFile", []string{notPEM + "x"}},
		"a CA file without a certificate":   {one(oidc(func(m *OIDCMatch) { m.CAFile = notPEM })), "clients[0].match[0].oidc.caFile", []string{notPEM}},
		"a claim's value of two clients":    {two(oidc(same), oidc(same)), inTwo + "oidc.value", []string{`"alice"`, `"bob"`}},
		"the default claim of two clients":  {two(oidc(func(m *OIDCMatch) { m.Claim = "" }), oidc(func(m *OIDCMatch) { m.Claim = "sub" })), inTwo + "oidc.value", []string{`"alice"`, `"bob"`}},
		"one value under two audiences":     {two(oidc(same), oidc(func(m *OIDCMatch) { m.Audience = "other" })), "", nil},
		"one value under two claims":        {two(oidc(same), oidc(func(m *OIDCMatch) { m.Claim = "sub" })), "", nil},
		"one value under two issuers":       {two(oidc(same), oidc(func(m *OIDCMatch) { m.Issuer += "/" })), "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := NewDirectory(c.clients, Options{LookupUser: users})
			if c.path == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			var problem *MatchError
			if !errors.As(err, &problem) || d != nil {
				t.Fatalf("error = %v, want a *MatchError and no directory", err)
			}
			if got := len(strings.Split(err.Error(), "\n")); got != 1 {
				t.Errorf("there are %d problems, want one: %v", got, err)
			}
			if problem.Path() != c.path || !strings.HasPrefix(err.Error(), c.path+": ") {
				t.Errorf("the problem is at %s (%v), want %s", problem.Path(), err, c.path)
			}
			for _, want := range c.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the problem %q does not say %q", err, want)
				}
			}
		})
	}
}

func TestAllProblemsAreToldAtOnce(t *testing.T) {
	clients := []Client{
		{Name: "a", Match: []Match{{UID: new(uint32(1))}, {}, {TokenSHA256: "x"}}},
		{Name: "a", Match: []Match{{UID: new(uint32(1))}, {OIDC: &OIDCMatch{}}}},
	}
	_, err := NewDirectory(clients, Options{LookupUser: users})
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("error = %v (%T), want a joined one", err, err)
	}
	got := make([]string, 0, 7)
	for _, each := range joined.Unwrap() {
		var problem *MatchError
		if !errors.As(each, &problem) {
			t.Fatalf("%v is a %T, want a *MatchError", each, each)
		}
		got = append(got, problem.Path())
	}
	want := "clients[0].match[1] clients[0].match[2].tokenSHA256 clients[1].name clients[1].match[0].uid " +
		"clients[1].match[1].oidc.issuer clients[1].match[1].oidc.audience clients[1].match[1].oidc.value"
	if strings.Join(got, " ") != want {
		t.Errorf("problems at\n%s, want\n%s", strings.Join(got, " "), want)
	}
}

func TestOneIssuerHasOneCAFile(t *testing.T) {
	file := newIssuerServer(t, newClock()).caFile
	match := func(ca, value string) Match {
		return Match{OIDC: &OIDCMatch{Issuer: "https://login.example.org", CAFile: ca, Audience: "a", Value: value}}
	}
	_, err := NewDirectory([]Client{{Name: "alice", Match: []Match{match(file, "a")}}, {Name: "bob", Match: []Match{match("", "b")}}}, Options{})
	var problem *MatchError
	if !errors.As(err, &problem) || problem.Path() != "clients[1].match[0].oidc.caFile" || !strings.Contains(err.Error(), `"alice"`) {
		t.Errorf("error = %v, want one at bob's caFile that names alice", err)
	}
}

func TestUsersOfTheSystemAreLookedUp(t *testing.T) {
	if _, err := NewDirectory([]Client{{Name: "a", Match: []Match{{UnixUser: "no-such-user-here"}}}}, Options{}); err == nil {
		t.Error("an unknown user is found")
	}
	_, err := NewDirectory([]Client{{Name: "a", Match: []Match{{UnixUser: "root"}}}}, Options{})
	if err == nil || !strings.Contains(err.Error(), "uid: 0") {
		t.Errorf("error = %v, want that root has uid 0", err)
	}
}

func TestReviewAfterAReload(t *testing.T) {
	c := newClock()
	minter := NewMinter(c.now)
	o := Options{Minter: minter, Now: c.now}
	before := newDirectory(t, team(time.Time{}), o)
	token, _ := minter.Mint("alice", 1001, time.Hour)

	identify := func(lines ...string) *Identity {
		t.Helper()
		i, err := before.Identify(t.Context(), request(t, lines...), local(1001), everything())
		if err != nil {
			t.Fatal(err)
		}
		return &i
	}
	byUID, byToken, byMinted := identify(), identify(bearer(aliceToken)), identify(bearer(token))

	client := func(name string, m ...Match) []Client { return []Client{{Name: name, Match: m}} }
	for name, c2 := range map[string]struct {
		clients []Client
		want    [3]string // by uid, by uid and token, by uid and minted token
	}{
		"nothing changed":            {team(time.Time{}), [3]string{"", "", ""}},
		"only what stays is matched": {client("alice", Match{UID: new(uint32(1001))}), [3]string{"", ReasonInvalidToken, ""}},
		"the token has another uid":  {client("alice", Match{TokenSHA256: sha(aliceToken)}), [3]string{ReasonUnknownClient, ReasonUnknownClient, ReasonUnknownClient}},
		"the client has gone":        {client("bob", Match{UID: new(uint32(1002))}), [3]string{ReasonUnknownClient, ReasonUnknownClient, ReasonUnknownClient}},
		"the uid is another's":       {client("bob", Match{UID: new(uint32(1001))}), [3]string{ReasonUnknownClient, ReasonUnknownClient, ReasonUnknownClient}},
		"the token is another's": {
			append(client("alice", Match{UID: new(uint32(1001))}), client("bob", Match{TokenSHA256: sha(aliceToken)})...),
			[3]string{"", ReasonUnknownClient, ""},
		},
		"the token expires now": {team(c.now()), [3]string{"", ReasonExpired, ""}},
	} {
		t.Run(name, func(t *testing.T) {
			after := newDirectory(t, c2.clients, o)
			for n, i := range []*Identity{byUID, byToken, byMinted} {
				if got := reason(t, after.Review(i, c.now())); got != c2.want[n] {
					t.Errorf("%s: refused with %q, want %q", i, got, c2.want[n])
				}
			}
		})
	}
	if got := reason(t, before.Review(&Identity{}, c.now())); got != ReasonNothingPresented {
		t.Errorf("nobody: refused with %q, want %q", got, ReasonNothingPresented)
	}
}

func TestIdentityKnowsItsMethods(t *testing.T) {
	d := newDirectory(t, team(time.Time{}), Options{})
	i, err := d.Identify(t.Context(), request(t, bearer(aliceToken)), local(1001), everything())
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := i.UID(); !ok || got != 1001 {
		t.Errorf("UID() = %d, %t, want 1001", got, ok)
	}
	if i.AcceptedBy(accept(UID)) || i.AcceptedBy(accept(Bearer, OIDC)) || !i.AcceptedBy(accept(Bearer, UID)) {
		t.Error("uid and bearer are not what AcceptedBy asks for")
	}
	i, err = d.Identify(t.Context(), request(t, bearer(aliceToken)), local(1001), accept(Bearer))
	if _, ok := i.UID(); ok || err != nil {
		t.Errorf("a client recognised by its token alone has a uid (%v)", err)
	}
	if (&Identity{}).AcceptedBy(everything()) {
		t.Error("nobody is accepted")
	}
	for want, a := range map[string]Accepted{"nothing": {}, "uid, oidc": accept(OIDC, UID, "other")} {
		if a.String() != want {
			t.Errorf("the set prints as %q, want %q", a, want)
		}
	}
}
