package auth

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/yaml"
)

const canary = "c4nary-s3cret-value"

func TestSecretPrintsNothing(t *testing.T) {
	s := NewSecret(canary)
	type inner struct{ hidden Secret }
	holder := struct {
		Shown  Secret
		hidden Secret
		deep   *inner
		list   []Secret
	}{s, s, &inner{s}, []Secret{s}}

	var out []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10.3s", "%T", "%o", "%c", "%U", "%e"} {
		out = append(out, fmt.Sprintf(verb, s), fmt.Sprintf(verb, &s), fmt.Sprintf(verb, holder), fmt.Sprintf(verb, &holder))
	}
	out = append(out, s.String(), s.GoString(), s.LogValue().String(), fmt.Sprint(fmt.Errorf("wrapped: %v", s)))

	asJSON, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	asText, err := s.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	plainYAML, err := s.MarshalYAML()
	if err != nil {
		t.Fatal(err)
	}
	out = append(out, string(asJSON), string(asYAML), string(asText), fmt.Sprint(plainYAML))

	var buf strings.Builder
	slog.New(slog.NewJSONHandler(&buf, nil)).Info("x", "secret", s, "holder", holder)
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewDevelopmentEncoderConfig()), zapcore.AddSync(&buf), zap.DebugLevel)
	zap.New(core).Debug("x", zap.Any("any", s), zap.Stringer("stringer", s), zap.Object("object", s),
		zap.Reflect("reflect", s), zap.Any("holder", holder), zap.String("sprint", fmt.Sprint(s)))
	out = append(out, buf.String())

	for _, o := range out {
		if strings.Contains(o, canary) || strings.Contains(o, fmt.Sprintf("%x", canary)) {
			t.Errorf("the secret is printed: %s", o)
		}
	}
	if got := fmt.Sprintf("%v", s); got != "[redacted]" {
		t.Errorf("%%v = %q, want [redacted]", got)
	}
	if got := string(asJSON); !strings.Contains(got, `"Shown":"[redacted]"`) {
		t.Errorf("JSON = %s, want Shown to be [redacted]", got)
	}
}

func TestSecretRevealsAndCompares(t *testing.T) {
	var zero Secret
	if got := NewSecret(canary).Reveal(); got != canary {
		t.Errorf("Reveal() = %q, want %q", got, canary)
	}
	if zero.Reveal() != "" || !zero.IsEmpty() || !NewSecret("").IsEmpty() || NewSecret("x").IsEmpty() {
		t.Error("the zero Secret must be the empty one, and only that")
	}
	for _, c := range []struct {
		a, b Secret
		want bool
	}{
		{NewSecret("a"), NewSecret("a"), true},
		{NewSecret("a"), NewSecret("b"), false},
		{NewSecret("a"), NewSecret("ab"), false},
		{zero, NewSecret(""), true},
		{zero, NewSecret("a"), false},
	} {
		if got := c.a.Equal(c.b); got != c.want {
			t.Errorf("%q.Equal(%q) = %t, want %t", c.a.Reveal(), c.b.Reveal(), got, c.want)
		}
	}
}

func TestLeasePrintsNothing(t *testing.T) {
	l := leaseOf(canary, nil)
	holder := struct {
		Lease *Lease
		again *Lease
		value Lease
	}{l, l, *l}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, v := range []any{l, holder, &holder, *l} {
			if out := fmt.Sprintf(verb, v); strings.Contains(out, canary) {
				t.Errorf("%s of %T prints the credential: %s", verb, v, out)
			}
		}
	}
	asJSON, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(asJSON), canary) {
		t.Errorf("JSON prints the credential: %s", asJSON)
	}
	if got := l.Authorization().Reveal(); got != "Bearer "+canary {
		t.Errorf("Authorization() = %q", got)
	}
	var none *Lease
	if !none.Authorization().IsEmpty() || impersonated(none) != "" || none.String() != "lease(none)" {
		t.Error("a nil lease must be usable and empty")
	}
}

// leaseOf returns a lease as a kubeconfig with that token gives.
func leaseOf(token string, as impersonation) *Lease {
	return leaseWith(token, &leaseHeaders{authorization: []string{"Bearer " + token}, impersonation: as})
}

func leaseWith(token string, headers *leaseHeaders) *Lease {
	return &Lease{generation: 1, identity: identify(token), headers: func() *leaseHeaders { return headers }}
}
