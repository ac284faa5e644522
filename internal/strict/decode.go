package strict

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of a document.
const (
	// MaxSize is the size of the largest document, in bytes.
	MaxSize = 16 << 20

	maxDepth    = 64   // levels of lists and mappings
	maxProblems = 1000 // that are reported
)

// Decode decodes data, which must hold one YAML document, a mapping, into the
// struct that into points to. The error is nil or [Problems], sorted by line;
// what had no problem is decoded then, too. The Document is never nil.
func Decode(data []byte, into any) (*Document, error) {
	target := reflect.ValueOf(into)
	if target.Kind() != reflect.Pointer || target.IsNil() || target.Elem().Kind() != reflect.Struct {
		return &Document{}, Problems{{Err: fmt.Errorf("strict: cannot decode into %T: want a pointer to a struct", into)}}
	}
	root, problem := parse(data)
	if problem != nil {
		return &Document{}, Problems{problem}
	}
	document := &Document{root: root}
	d := decoder{types: map[reflect.Type]*fields{}}
	d.value(root, target.Elem(), place{})
	if d.omitted > 0 {
		d.problems = append(d.problems, &Problem{Line: d.last.Line, Column: d.last.Column,
			Err: fmt.Errorf("there are %d more problems, which are not shown", d.omitted)})
	}
	d.problems.Sort()
	return document, d.problems.OrNil()
}

// parse returns the one mapping that data holds.
func parse(data []byte) (*yaml.Node, *Problem) {
	if len(data) > MaxSize {
		return nil, &Problem{Err: fmt.Errorf("is larger than %d MiB", MaxSize>>20)}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil, &Problem{Line: 1, Column: 1, Err: errors.New("is empty")}
	case err != nil:
		return nil, syntaxProblem(data, err)
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		return nil, &Problem{Line: second.Line, Column: second.Column, Err: errors.New("a second document begins here: there must be only one")}
	case !errors.Is(err, io.EOF):
		return nil, syntaxProblem(data, err)
	}
	if document.Kind != yaml.DocumentNode || len(document.Content) != 1 {
		return nil, &Problem{Line: 1, Column: 1, Err: errors.New("is empty")}
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, &Problem{Line: root.Line, Column: root.Column, Err: fmt.Errorf("want fields (name: value), found %s", describe(root, false))}
	}
	return root, nil
}

// What is to be learnt from the errors of package yaml, which are mere text.
var (
	syntaxLine    = regexp.MustCompile(`^yaml: line (\d+): `)
	unknownAnchor = regexp.MustCompile(`^yaml: unknown anchor '(.*)' referenced`)
)

func syntaxProblem(data []byte, err error) *Problem {
	p := &Problem{Line: 1, Column: 1}
	text := err.Error()
	if m := unknownAnchor.FindStringSubmatch(text); m != nil {
		before, _, _ := bytes.Cut(data, []byte("*"+m[1]))
		p.Line += bytes.Count(before, []byte("\n"))
		p.Err = errAlias
		return p
	}
	if m := syntaxLine.FindStringSubmatch(text); m != nil {
		p.Line, _ = strconv.Atoi(m[1]) // digits; an overflow would only misplace the message
		text = text[len(m[0]):]
		if strings.HasPrefix(text, "did not find expected ") {
			p.Line++ // its parser, other than its scanner, counts from 0
		}
		p.Line = min(p.Line, 1+bytes.Count(bytes.TrimSuffix(data, []byte("\n")), []byte("\n")))
	}
	text = strings.TrimPrefix(text, "yaml: ")
	if line := lineOf(data, p.Line); bytes.ContainsRune(line[:len(line)-len(bytes.TrimLeft(line, " \t"))], '\t') {
		text += ": the line is indented with a tab, where YAML wants spaces"
	}
	p.Err = fmt.Errorf("is no YAML: %s", text)
	return p
}

// lineOf returns a line of data, counted from 1, nil if there is none.
func lineOf(data []byte, number int) []byte {
	for line := range bytes.Lines(data) {
		if number--; number == 0 {
			return line
		}
	}
	return nil
}
