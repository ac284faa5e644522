package strict_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kuberelay/kuberelay/internal/strict"
)

const everything = `
title: "yes"
open: true
seats: -12
tables: 255
price: 1.5e1
wait: 1h30m
until: 2027-01-01T01:00:00+01:00
mode: 0660
tags: [a, 2027-01-01, yes]
token: t
env: {A: "1", "b.c": d}
dishes:
- {name: soup}
- {name: salad, hot: false, parts: [], more: [{name: dressing}]}
chef: {name: Ann}
kitchen: {ovens: 2}
sink: {depth: 30}
street: Main
`

func TestEveryKindOfField(t *testing.T) {
	got := menu{Title: "replaced", Hidden: "kept"}
	if _, err := strict.Decode([]byte(everything), &got); err != nil {
		t.Fatalf("Decode(): %v", err)
	}
	want := menu{
		Title: "yes", Open: true, Seats: -12, Tables: 255, Price: 15, Wait: 90 * time.Minute,
		Until: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), Mode: 0o660,
		Tags: []string{"a", "2027-01-01", "yes"}, Token: "t", Env: map[string]string{"A": "1", "b.c": "d"},
		Dishes: []dish{{Name: "soup", Hot: true}, {Name: "salad", Parts: []string{}, More: []dish{{Name: "dressing", Hot: true}}}},
		Chef:   &chef{Name: "Ann", Stars: 3}, Kitchen: kitchen{Ovens: 2, Sink: sink{30}},
		Hidden: "kept", Address: Address{"Main"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("decoded (-want +got):\n%s", d)
	}
}

func TestWhatIsNotWrittenIsKept(t *testing.T) {
	got := menu{Title: "old", Kitchen: kitchen{Ovens: 1, Sink: sink{10}}, Tags: []string{"old"}}
	if _, err := strict.Decode([]byte("kitchen: {ovens: 5}\ntags: []"), &got); err != nil {
		t.Fatalf("Decode(): %v", err)
	}
	want := menu{Title: "old", Kitchen: kitchen{Ovens: 5, Sink: sink{10}}, Tags: []string{}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("decoded (-want +got):\n%s", d)
	}
}

func TestProblems(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"an unknown field", "titel: x", "line 1: titel: is no field here: did you mean title?"},
		{"an unknown field in another case", "chef: {Name: x}", "line 1: chef.Name: is no field here: did you mean name?"},
		{"an unknown field like no other", "chef: {colour: x}", "line 1: chef.colour: is no field here: there are name, stars"},
		{"a field that is never written", "Hidden: x", "line 1: Hidden: is no field here: there are"},
		{"a sibling inside instead of beside", "kitchen:\n  sink: {depth: 1}", "line 2: kitchen.sink: is no field here: there are ovens"},
		{"a field twice", "title: a\nopen: true\ntitle: b", "line 3: title: is there twice, first on line 1"},
		{"a key twice", "env:\n  A: a\n  A: b", "line 3: env.A: is there twice, first on line 2"},
		{"a field without a value", "title:\n", "line 1: title: has no value: write one, or leave the field out"},
		{"null in a list", "tags: [a, ~]", "line 1: tags[1]: has no value: write one, or leave the field out"},
		{"a number for a string", "title: 5", "line 1: title: want a string, found the number 5: put it in quotes"},
		{"a truth value for a string", "dishes:\n- name: true", "line 2: dishes[0].name: want a string, found the truth value true: put it in quotes"},
		{"fields for a string", "title: {a: b}", "line 1: title: want a string, found fields (name: value)"},
		{"a string for a list", "tags: a", `line 1: tags: want a list ([a, b], or lines that begin with -), found the string "a"`},
		{"a list for fields", "chef: [a]", "line 1: chef: want fields (name: value), found a list"},
		{"a string for a map", "env: a", "line 1: env: want fields (name: value), found a string"},
		{"a string for fields", "chef: Ann", `line 1: chef: want fields (name: value), found the string "Ann"`},
		{"yes for true", "open: yes", `line 1: open: want true or false, found the string "yes"`},
		{"True for true", "open: True", "line 1: open: want true or false, found the truth value True"},
		{"a fraction for a whole number", "seats: 1.5", "line 1: seats: want a whole number, found the number 1.5"},
		{"octal for a whole number", "seats: 010", "line 1: seats: want a whole number, found the number 010"},
		{"hexadecimal for a whole number", "seats: 0x10", "line 1: seats: want a whole number, found the number 0x10"},
		{"a quoted number", `seats: "1"`, `line 1: seats: want a whole number, found the string "1"`},
		{"a number that is too large", "tables: 256", "line 1: tables: 256 is out of range: want 0 to 255"},
		{"a number that is negative", "tables: -1", "line 1: tables: -1 is out of range: want 0 to 255"},
		{"a number beyond 64 bits", "seats: -9223372036854775809", "line 1: seats: want a whole number, found the number -9223372036854775809"},
		{"no number", "price: .nan", "line 1: price: want a number, found the number .nan"},
		{"an infinite number", "price: -.inf", "line 1: price: want a number, found the number -.inf"},
		{"a duration without a unit", "wait: 30", "line 1: wait: want a duration such as 30s, found the number 30: add a unit (ms, s, m, h)"},
		{"a duration of nothing without a unit", "wait: 0", "line 1: wait: want a duration such as 30s, found the number 0: add a unit (ms, s, m, h)"},
		{"a duration in days", "wait: 1d", `line 1: wait: want a duration such as 30s, found the string "1d"`},
		{"a date for a time", "until: 2027-01-01", "line 1: until: want a time such as 2027-01-01T00:00:00Z, found the date 2027-01-01"},
		{"a time without a zone", "until: 2027-01-01T00:00:00", "line 1: until: want a time such as 2027-01-01T00:00:00Z, found the string \"2027-01-01T00:00:00\""},
		{"a time with a short hour", "until: 2027-01-01T0:00:00Z", "line 1: until: want a time such as 2027-01-01T00:00:00Z, found the date 2027-01-01T0:00:00Z"},
		{"a time before all others", "until: 0000-01-01T00:00:00+01:00", "line 1: until: want a time such as 2027-01-01T00:00:00Z, found the date 0000-01-01T00:00:00+01:00"},
		{"what a type refuses", "mode: 0999", "line 1: mode: want a mode in octal"},
		{"fields for what a type reads", "mode: {}", "line 1: mode: want a string, found fields (name: value)"},
		{"an anchor", "title: &a x", "line 1: title: anchors (&name) are not supported: write the value out where it is needed"},
		{"an alias", "tags: &a [x]\nchef: *a", "line 1: tags: anchors (&name) are not supported: write the value out where it is needed\nline 2: chef: aliases (*name) are not supported: write the value out"},
		{"an alias of nothing", "title: a\ntags: *b", "line 2: aliases (*name) are not supported: write the value out"},
		{"a merge", "chef: {<<: {name: x}}", "line 1: chef: merging (<<) is not supported: write the fields out"},
		{"a tag", "title: !!str 5", "line 1: title: tags (!name) are not supported: write the value alone"},
		{"a key that is no word", "? [a]\n: b", "line 1: want the name of a field, found a list"},
		{"an empty key", `"": x`, `line 1: [""]: is no field here`},
		{"a key of many words", `"a.b c": x`, `line 1: ["a.b c"]: is no field here`},
		{"a list", "- a", "line 1: want fields (name: value), found a list"},
		{"a word", "a", `line 1: want fields (name: value), found the string "a"`},
		{"nothing", "", "line 1: is empty"},
		{"a comment", "# nothing\n", "line 1: is empty"},
		{"a second document", "title: a\n---\ntitle: b", "line 2: a second document begins here: there must be only one"},
		{"a broken second document", "title: a\n---\n[", "line 3: is no YAML: did not find expected node content"},
		{"a tab", "chef:\n\tname: x", "line 2: is no YAML: found character that cannot start any token: the line is indented with a tab, where YAML wants spaces"},
		{"a field that begins nowhere", "title: a\n}", "line 2: is no YAML: did not find expected key"},
		{"a bracket that stays open", "title: a\ntags: [a, b", "line 2: is no YAML: did not find expected ',' or ']'"},
		{"what is no text", "title: \xff", "line 1: is no YAML: invalid leading UTF-8 octet"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := strict.Decode([]byte(tc.text), &menu{})
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) || strings.Count(err.Error(), "\n") != strings.Count(tc.want, "\n") {
				t.Errorf("Decode(%q) =\n%v\nwant only\n%s", tc.text, err, tc.want)
			}
		})
	}
}

func TestAllProblemsInTheirOrder(t *testing.T) {
	text := "wait: 5\nkitchen: {ovens: x, pans: 1}\ntags:\n- 1\n- b\n- 2\ndishes:\n- {}\n- nme: x\nseats: 5"
	var got menu
	_, err := strict.Decode([]byte(text), &got)
	var problems strict.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("Decode() = %v, want Problems", err)
	}
	var places []string
	for _, p := range problems {
		places = append(places, fmt.Sprintf("%d:%d %s", p.Line, p.Column, p.Path))
	}
	want := []string{"1:7 wait", "2:18 kitchen.ovens", "2:21 kitchen.pans", "4:3 tags[0]", "6:3 tags[2]", "9:3 dishes[1].nme"}
	if d := cmp.Diff(want, places); d != "" {
		t.Errorf("places (-want +got):\n%s", d)
	}
	if got.Seats != 5 {
		t.Errorf("what has no problem is not decoded: %+v", got)
	}
}

func TestSecretsAreNotRepeated(t *testing.T) {
	const secret = "8675309"
	for _, text := range []string{
		"token: [" + secret + "]", "token: " + secret, "env: {A: " + secret + "}", "env: " + secret, "env: [" + secret + "]",
		"title: [" + strings.Repeat("s", 50) + secret + "]",
		"seats: " + strings.Repeat("s", 50) + secret,
		"mode: " + strings.Repeat("s", 50) + secret,
		"seats: " + strings.Repeat("1", 50) + secret,
		strings.Repeat("s", 50) + secret + ": 1",
	} {
		if _, err := strict.Decode([]byte(text), &menu{}); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("Decode(%.20q…) = %v, want an error without the value", text, err)
		}
	}
}

func TestBounds(t *testing.T) {
	deep := strings.Repeat("dishes: [{more: [{", 1) + strings.Repeat("more: [{", 100) + strings.Repeat("}]", 101) + "}]"
	for _, tc := range []struct{ name, text, want string }{
		{"deep", deep, "is nested deeper than 64 levels"},
		{"deeper than a parser goes", strings.Repeat("[", 20000), "exceeded max depth"},
		{"large", "title: " + strings.Repeat("x", strict.MaxSize), "is larger than 16 MiB"},
		{"many problems", "tags: [" + strings.Repeat("1,", 5000) + "]", "there are 4000 more problems, which are not shown"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := strict.Decode([]byte(tc.text), &menu{})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Decode() = %.200v, want %q in it", err, tc.want)
			}
		})
	}
}

func TestAliasesDoNotGrow(t *testing.T) {
	bomb := "title: a\nenv:\n  a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'z'; c++ {
		bomb += fmt.Sprintf("  %c: &%c [%s]\n", c, c, strings.Repeat(fmt.Sprintf("*%c,", c-1), 10))
	}
	var problems strict.Problems
	if _, err := strict.Decode([]byte(bomb), &menu{}); !errors.As(err, &problems) || len(problems) != 26 {
		t.Errorf("Decode() = %.300v, want a problem for each of 26 lists", err)
	}
}

func TestTargetMustBeAStruct(t *testing.T) {
	for _, into := range []any{nil, menu{}, new(string), (*menu)(nil)} {
		if document, err := strict.Decode([]byte("title: x"), into); err == nil || document == nil {
			t.Errorf("Decode(%T) = %v, %v, want a Document and an error", into, document, err)
		}
	}
	var odd struct {
		Any   any `yaml:"any"`
		NoTag string
	}
	const want = "line 1: any: cannot be configured: there is no way to write a interface {}\nline 2: NoTag: is no field here: there are any"
	if _, err := strict.Decode([]byte("any: x\nNoTag: x"), &odd); text(err) != want {
		t.Errorf("Decode() = %v, want %s", err, want)
	}
}

func TestProblemText(t *testing.T) {
	cause := errors.New("is bad")
	for want, p := range map[string]strict.Problem{
		"f.yaml:3: a.b: is bad": {File: "f.yaml", Line: 3, Column: 5, Path: "a.b", Err: cause},
		"f.yaml: is bad":        {File: "f.yaml", Err: cause},
		"line 3: a.b: is bad":   {Line: 3, Path: "a.b", Err: cause},
		"a.b: is bad":           {Path: "a.b", Err: cause},
	} {
		if got := p.Error(); got != want || !errors.Is(&p, cause) {
			t.Errorf("Error() = %q, want %q", got, want)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
