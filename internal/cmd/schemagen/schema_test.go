package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/kuberelay/kuberelay/config"
)

const root = "../../.."

func TestSchemaIsInSync(t *testing.T) {
	var b bytes.Buffer
	if err := generate(&b, root); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), config.Schema()) {
		t.Error("config/schema.json is not what the source says: run go generate ./config")
	}
}

func TestEveryFieldIsDescribed(t *testing.T) {
	s := parsed(t)
	// What the names and their holder say.
	exempt := []string{
		"auth.CertificateFiles.certFile", "auth.CertificateFiles.keyFile",
		"auth.AllowedImpersonation.users", "auth.AllowedImpersonation.groups",
	}
	for name, def := range s.Defs {
		for property, p := range def.Properties {
			path := name + "." + property
			if p.Description == "" && !slices.Contains(exempt, path) {
				t.Errorf("%s has no description", path)
			}
			if strings.Contains(p.Description, "yaml:") || len(p.Description) > 700 {
				t.Errorf("%s has an odd description: %s", path, p.Description)
			}
		}
	}
}

// What the schema refuses and accepts, by changes to the example. Whatever Load
// accepts must conform.
func TestExampleConforms(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "config", "testdata", "example.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s := parsed(t)
	for _, tc := range []struct{ name, before, after, want string }{
		{"the example", "", "", ""},
		{"an unknown field", "servers:", "server:", "clusters[0].server: is not in the schema"},
		{"a sibling inside", "balancer: {", "balancer: {breaker: {}, ", "clusters[0].balancer.breaker: is not in the schema"},
		{"a missing name", "{name: local, ", "{", "listeners[1]: has no name"},
		{"another value of an enumeration", "mode: single", "mode: open", "listeners[3].mode: is none of"},
		{"another method", "[bearer, certificate, oidc]", "[beaver]", "listeners[0].identify[0]: is none of"},
		{"another version", "v1alpha1", "v1", "apiVersion: is not"},
		{"a duration without a unit", "gracePeriod: 10s", "gracePeriod: 10", "gracePeriod: is a int"},
		{"a duration in days", "gracePeriod: 10s", "gracePeriod: 10d", "gracePeriod: does not match"},
		{"a time of day", "expires: 2099-01-01T00:00:00Z", "expires: noon", "clients[0].match[1].expires: is no date-time"},
		{"a negative uid", "uid: 1001", "uid: -1", "clients[0].match[0].uid: is out of range"},
		{"two kinds of evidence", "{uid: 1001}", "{uid: 1001, unixUser: alice}", "clients[0].match[0]: is 2 of 5"},
		{"no evidence", "{uid: 1001}", "{}", "clients[0].match[0]: is 0 of 5"},
		{"no match", "match: [{uid: 1002}]", "match: []", "clients[2].match: is too short"},
		{"a number in the environment", "AWS_PROFILE: prod", "AWS_PROFILE: 5", "credentials[2].exec.env.AWS_PROFILE: is a int"},
		{"a socket's mode without quotes", `"0666"`, "0666", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if !strings.Contains(string(data), tc.before) {
				t.Fatalf("there is no %q in the example", tc.before)
			}
			var document any
			if err := yaml.Unmarshal([]byte(strings.Replace(string(data), tc.before, tc.after, 1)), &document); err != nil {
				t.Fatal(err)
			}
			got := s.check("", s, document)
			if tc.want == "" && len(got) > 0 || tc.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], tc.want)) {
				t.Errorf("problems %q, want %q", got, tc.want)
			}
		})
	}
}

func TestDurations(t *testing.T) {
	pattern := regexp.MustCompile(durationPattern)
	for _, text := range []string{"30s", "1h30m", "1.5h", ".5s", "-1s", "2m", "100ms", "1us", "0", "0s"} {
		if _, err := time.ParseDuration(text); err != nil || !pattern.MatchString(text) {
			t.Errorf("%q: %v, the pattern matches: %v", text, err, pattern.MatchString(text))
		}
	}
	for _, text := range []string{"", "30", "1d", "s", "1s 2m", "1e3s"} {
		if pattern.MatchString(text) {
			t.Errorf("the pattern matches %q", text)
		}
	}
	for d, want := range map[time.Duration]string{time.Minute: "1m", 2 * time.Hour: "2h", 90 * time.Second: "1m30s", time.Second / 2: "500ms"} {
		if got := plain(d); got != want {
			t.Errorf("plain(%v) = %s, want %s", d, got, want)
		}
	}
}

func parsed(t *testing.T) *schema {
	t.Helper()
	var s schema
	if err := json.Unmarshal(config.Schema(), &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// check validates v, as package yaml decodes it, by the keywords that generate
// uses; top holds the definitions.
func (s *schema) check(path string, top *schema, v any) []string {
	if s.Ref != "" {
		return top.Defs[strings.TrimPrefix(s.Ref, "#/$defs/")].check(path, top, v)
	}
	say := func(text string) []string { return []string{path + ": " + text} }
	switch v := v.(type) {
	case map[string]any:
		return s.checkObject(path, top, v)
	case []any:
		if len(v) < s.MinItems {
			return say("is too short")
		}
		var problems []string
		for i, element := range v {
			problems = append(problems, s.Items.check(path+"["+strconv.Itoa(i)+"]", top, element)...)
		}
		return problems
	case time.Time:
		if s.Format != "date-time" {
			return say("is a time")
		}
	case bool:
		if s.Type != "boolean" {
			return say("is a bool")
		}
	case int:
		if !s.is("integer") && !s.is("number") {
			return say("is a int")
		}
		if s.Minimum != nil && v < 0 {
			return say("is out of range")
		}
	case float64:
		if !s.is("number") {
			return say("is a float64")
		}
	case string:
		switch {
		case s.Format == "date-time":
			return say("is no date-time")
		case !s.is("string"):
			return say("is a string")
		case s.Const != "" && v != s.Const:
			return say("is not " + s.Const)
		case s.Enum != nil && !slices.Contains(s.Enum, v):
			return say("is none of " + strings.Join(s.Enum, ", "))
		case s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(v):
			return say("does not match " + s.Pattern)
		}
	default:
		return say("is of no kind that is known")
	}
	return nil
}

func (s *schema) is(kind string) bool {
	kinds, several := s.Type.([]any)
	return s.Type == kind || several && slices.Contains(kinds, any(kind))
}

func (s *schema) checkObject(path string, top *schema, v map[string]any) []string {
	if !s.is("object") {
		return []string{path + ": is fields"}
	}
	var problems []string
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			problems = append(problems, path+": has no "+name)
		}
	}
	if s.OneOf != nil {
		matching := 0
		for _, one := range s.OneOf {
			if _, ok := v[one.Required[0]]; ok {
				matching++
			}
		}
		if matching != 1 {
			problems = append(problems, path+": is "+strconv.Itoa(matching)+" of "+strconv.Itoa(len(s.OneOf)))
		}
	}
	for name, value := range v {
		at := strings.TrimPrefix(path+"."+name, ".")
		p := s.Properties[name]
		if values, ok := s.AdditionalProperties.(map[string]any); ok && p == nil {
			p = &schema{Type: values["type"]}
		}
		if p == nil {
			problems = append(problems, at+": is not in the schema")
			continue
		}
		problems = append(problems, p.check(at, top, value)...)
	}
	return problems
}
