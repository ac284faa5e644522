package strict

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Document is a YAML document that was read, by which fields are found again.
type Document struct {
	root *yaml.Node // a mapping; nil for a document that has none
}

// Position returns the line and column, from 1, of the field at path, or of the
// longest part of path that was written. Both are 0 for a document without
// fields.
func (d *Document) Position(path string) (line, column int) {
	if d == nil || d.root == nil {
		return 0, 0
	}
	node := d.root
	line, column = node.Line, node.Column
	for path != "" {
		var key string
		var index int
		key, index, path = nextStep(path)
		at, value := child(node, key, index)
		if at == nil {
			break
		}
		node = value
		line, column = at.Line, at.Column
	}
	return line, column
}

// Has reports whether the field at path was written.
func (d *Document) Has(path string) bool {
	if d == nil || d.root == nil {
		return false
	}
	node := d.root
	for path != "" {
		var key string
		var index int
		key, index, path = nextStep(path)
		if _, node = child(node, key, index); node == nil {
			return false
		}
	}
	return true
}

// child returns the node that names a child of a node, and the child's value:
// the same for an element of a list. Both are nil if there is no such child.
func child(n *yaml.Node, key string, index int) (at, value *yaml.Node) {
	switch {
	case n.Kind == yaml.MappingNode && index < 0:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				return n.Content[i], n.Content[i+1]
			}
		}
	case n.Kind == yaml.SequenceNode && index >= 0 && index < len(n.Content):
		return n.Content[index], n.Content[index]
	}
	return nil, nil
}

// nextStep splits the first step off a path: a key, with an index of -1, or an
// index. A key that is not made of letters, digits, - and _ is written in
// brackets and quotes, see [pathKey].
func nextStep(path string) (key string, index int, rest string) {
	path = strings.TrimPrefix(path, ".")
	if inner, ok := strings.CutPrefix(path, "["); ok {
		if quoted, err := strconv.QuotedPrefix(inner); err == nil {
			key, _ = strconv.Unquote(quoted) // what QuotedPrefix returned can be unquoted
			return key, -1, strings.TrimPrefix(inner[len(quoted):], "]")
		}
		number, rest, _ := strings.Cut(inner, "]")
		if n, err := strconv.Atoi(number); err == nil && n >= 0 {
			return "", n, rest
		}
		return "", -1, ""
	}
	if end := strings.IndexAny(path, ".["); end >= 0 {
		return path[:end], -1, path[end:]
	}
	return path, -1, ""
}

// pathKey is how a key stands in a path, after what precedes it.
func pathKey(key string, first bool) string {
	key = bounded(key)
	switch {
	case !plainKey(key):
		return "[" + strconv.Quote(key) + "]"
	case first:
		return key
	}
	return "." + key
}

func plainKey(key string) bool {
	for i := range len(key) {
		c := key[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return key != ""
}
