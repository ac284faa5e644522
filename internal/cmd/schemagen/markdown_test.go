package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestReferenceIsInSync(t *testing.T) {
	want := reference(t)
	got, err := os.ReadFile(filepath.Join(root, "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/configuration.md is not what the source says: run go generate ./config")
	}
}

// Every field of the schema has one row, in the section of its struct, and every
// link leads to a heading.
func TestReferenceIsWhole(t *testing.T) {
	text := reference(t)
	fields := 0
	for _, s := range append(definitions(t), parsed(t)) {
		fields += len(s.Properties)
	}
	rows := len(regexp.MustCompile("(?m)^\\| `[^`]+` \\| ").FindAllString(text, -1))
	if rows != fields {
		t.Errorf("%d rows for %d fields", rows, fields)
	}
	anchors := map[string]bool{}
	for _, h := range regexp.MustCompile("(?m)^#+ (.*)$").FindAllStringSubmatch(text, -1) {
		name := strings.ReplaceAll(h[1], " ", "-")
		if anchors[anchor(name)] {
			t.Errorf("two headings are %q", anchor(name))
		}
		anchors[anchor(name)] = true
	}
	links := regexp.MustCompile(`\]\(#([^)]*)\)`).FindAllStringSubmatch(text, -1)
	if len(links) < 20 {
		t.Fatalf("only %d links", len(links))
	}
	for _, l := range links {
		if !anchors[l[1]] {
			t.Errorf("there is no heading for the link to #%s", l[1])
		}
	}
}

func TestRowsSayWhatTheSourceSays(t *testing.T) {
	text := reference(t)
	for name, row := range map[string]string{
		"a field that must be written": "| `mode` | `single`, `shared` | **required** | how clients are told apart",
		"a default of the source":      "| `gracePeriod` | duration | `10s` | the time that",
		"a default of the comment":     "| `timeout` | duration | 20s | bounds one run",
		"a default that is both":       "| `budget` | number | `0.2` | the share of the requests of the last 10 s that may be retries, ",
		"a default of a named type":    "| `policy` | `sticky`, `least-request`, `round-robin`, `random` | `sticky` | ",
		"a list of patterns":           "| `acceptHosts` | list: string | `['^localhost$', '^127\\.0\\.0\\.1$', '^\\[::1\\]$']` | tried on",
		"a section inside":             "| `tls` | [fields](#listenerstls) |  | needed for",
		"a shared comment":             "| `minRequests` | whole number | `20` | see `failureRatio` |",
		"a time":                       "| `expires` | time | never | when `tokenSHA256` stops matching, in RFC 3339. |",
		"signs of Markdown":            `"\*/scale" the subresource scale`,
	} {
		if !strings.Contains(text, row) {
			t.Errorf("%s: there is no %s", name, row)
		}
	}
}

func TestWithoutName(t *testing.T) {
	for text, want := range map[string]string{
		"`hosts` are the names":     "the names",
		"Config is the filter":      "the filter",
		"hosts holds names":         "holds names",
		"hosts in a row open it":    "hosts in a row open it",
		"the hosts are":             "the hosts are",
		"Configuration is not that": "Configuration is not that",
	} {
		name := "hosts"
		if strings.HasPrefix(text, "Config") {
			name = "Config"
		}
		if got := withoutName(text, name); got != want {
			t.Errorf("withoutName(%q) = %q, want %q", text, got, want)
		}
	}
}

func reference(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	if err := document(&b, root); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func definitions(t *testing.T) (all []*schema) {
	t.Helper()
	for _, d := range parsed(t).Defs {
		all = append(all, d)
	}
	return all
}
