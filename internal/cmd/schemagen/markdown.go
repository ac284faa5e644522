package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// page writes the reference: the schema's sections, each a table of its fields.
type page struct {
	top *schema
	// paths say where in the file the structs of the definitions stand; the
	// first place of each is where it is described.
	paths map[string]string
	order []string // the names of the definitions, as the page has them
}

const introduction = `# The configuration file

What ` + "`kuberelay serve --config=FILE`" + ` reads. How to begin is [serve.md](serve.md); here is every field. The file is YAML, read strictly: a field that does not exist, a value of another type, a duration without a unit and an empty value are errors, and ` + "`kuberelay check`" + ` lists all of them at once, each with its line. An editor that knows JSON Schema checks and completes it while you write, with the output of ` + "`kuberelay schema`" + `. No secret stands in the file; secrets stand in files that it names.

This page is generated from the same comments in the source as the schema.

`

// document writes the reference of the configuration file, whose source is below
// root.
func document(w io.Writer, root string) error {
	top, err := build(root, "`")
	if err != nil {
		return err
	}
	example, err := os.ReadFile(filepath.Join(root, "config", "testdata", "example.yaml"))
	if err != nil {
		return err
	}
	p := page{top: top, paths: map[string]string{}}
	p.place(top, "")
	var b strings.Builder
	b.WriteString(introduction)
	p.contents(&b)
	fmt.Fprintf(&b, "\n## An example\n\n```yaml\n%s```\n", example)
	b.WriteString("\n## The file\n\n")
	p.table(&b, top)
	for _, name := range p.order {
		p.section(&b, name)
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// place notes where the structs that s holds stand, outer ones first below each
// section of the file.
func (p *page) place(s *schema, at string) {
	for _, name := range s.order {
		path := strings.TrimPrefix(at+"."+name, ".")
		field := s.Properties[name]
		if field.Items != nil {
			field, path = field.Items, path+"[]"
		}
		def, isStruct := strings.CutPrefix(field.Ref, "#/$defs/")
		if !isStruct || p.paths[def] != "" {
			continue
		}
		p.paths[def] = path
		p.order = append(p.order, def)
		p.place(p.top.Defs[def], path)
	}
}

// contents lists the sections, those inside of another one beside it.
func (p *page) contents(b *strings.Builder) {
	b.WriteString("- [an example](#an-example)\n- [the file](#the-file)")
	separator := ""
	for _, name := range p.order {
		path := p.paths[name]
		if outer(path) {
			separator = "\n- "
		}
		fmt.Fprintf(b, "%s[%s](#%s)", separator, path[strings.LastIndex(path, ".")+1:], anchor(path))
		separator = ", "
		if outer(path) {
			separator = ": "
		}
	}
	b.WriteString("\n")
}

func (p *page) section(b *strings.Builder, name string) {
	path, def := p.paths[name], p.top.Defs[name]
	level := "###"
	if outer(path) {
		level = "##"
	}
	fmt.Fprintf(b, "\n%s %s\n\n", level, path)
	_, plainName, _ := strings.Cut(name, ".")
	if text := withoutName(def.Description, plainName); text != "" {
		fmt.Fprintf(b, "%s%s\n\n", strings.ToUpper(text[:1]), escape(text[1:]))
	}
	p.table(b, def)
}

// table has a row for each field of s.
func (p *page) table(b *strings.Builder, s *schema) {
	b.WriteString("| field | type | default | |\n|---|---|---|---|\n")
	first := map[string]string{} // of those that have one description
	for _, name := range s.order {
		field := s.Properties[name]
		text := withoutName(field.Description, name)
		text, standard := withoutDefault(text, field.Default)
		if s.requires(name) {
			standard = "**required**"
		}
		if other := first[field.Description]; other != "" && text != "" {
			text = "see `" + other + "`"
		} else {
			first[field.Description] = name
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", name, p.kind(field), standard, escape(text))
	}
}

func (s *schema) requires(name string) bool {
	return slices.Contains(s.Required, name)
}

// kind says what a field's value looks like.
func (p *page) kind(s *schema) string {
	switch {
	case s.Ref != "":
		path := p.paths[strings.TrimPrefix(s.Ref, "#/$defs/")]
		return fmt.Sprintf("[fields](#%s)", anchor(path))
	case s.Items != nil && s.Items.Ref != "":
		path := p.paths[strings.TrimPrefix(s.Items.Ref, "#/$defs/")]
		return fmt.Sprintf("[list](#%s)", anchor(path))
	case s.Items != nil:
		return "list: " + p.kind(s.Items)
	case s.Const != "":
		return "`" + s.Const + "`"
	case s.Enum != nil:
		return "`" + strings.Join(s.Enum, "`, `") + "`"
	case s.Pattern == durationPattern:
		return "duration"
	case s.Format == "date-time":
		return "time"
	case s.Type == "object": // of any names
		values, _ := s.AdditionalProperties.(*schema)
		return "map: " + p.kind(values)
	case s.Type == "boolean":
		return "`true`, `false`"
	case s.Type == "integer":
		return "whole number"
	}
	if kind, one := s.Type.(string); one {
		return kind
	}
	return "string"
}

// value writes a default as the file does.
func value(v any) string {
	if r := reflect.ValueOf(v); r.Kind() == reflect.String {
		return r.String()
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	var list []string
	if json.Unmarshal(text, &list) == nil {
		for i, item := range list { // In single quotes, where YAML has no escapes.
			list[i] = "'" + item + "'"
		}
		return "[" + strings.Join(list, ", ") + "]"
	}
	return string(text)
}

// verb is what may follow the name that a comment begins with: "Name is …",
// "Name identifies …".
var verb = regexp.MustCompile(`^([a-z]+s|are) `)

// withoutName takes the name off a description that begins with it, as comments
// in Go do.
func withoutName(text, name string) string {
	rest, found := strings.CutPrefix(text, "`"+name+"` ")
	if !found {
		rest, found = strings.CutPrefix(text, name+" ")
	}
	if !found || !verb.MatchString(rest) {
		return text
	}
	rest = strings.TrimPrefix(rest, "is ")
	return strings.TrimPrefix(rest, "are ")
}

// stated is the last sentence of a description, if that is a default alone.
var stated = regexp.MustCompile(` Default ([^ ]+|[0-9]+ (s|ms|m|h))\.$`)

// withoutDefault moves a default from the end of a description to the column of
// its own; v is the one that the schema has, or nil.
func withoutDefault(text string, v any) (rest, standard string) {
	said := stated.FindStringSubmatch(text)
	switch {
	case v != nil:
		standard = "`" + value(v) + "`"
		if said != nil && strings.Trim(strings.ReplaceAll(said[1], " ", ""), `"`) == value(v) {
			text = strings.TrimSuffix(text, said[0])
		}
	case said != nil:
		standard, text = said[1], strings.TrimSuffix(text, said[0])
	}
	return text, standard
}

// code is text that Markdown leaves alone.
var code = regexp.MustCompile("`[^`]*`|[*_|<]")

// escape keeps Markdown from reading signs in a comment as its own.
func escape(text string) string {
	return code.ReplaceAllStringFunc(text, func(found string) string {
		if len(found) > 1 {
			return found
		}
		return `\` + found
	})
}

// outer tells whether a section of the page is one of the file's own.
func outer(path string) bool { return !strings.Contains(path, ".") }

// anchor is what GitHub calls a heading of the page.
func anchor(heading string) string {
	return strings.ToLower(regexp.MustCompile(`[^A-Za-z0-9-]`).ReplaceAllString(heading, ""))
}
