package strict

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decoder walks a document and a Go value side by side.
type decoder struct {
	types    map[reflect.Type]*fields
	path     []string // the steps to the present node, as they are printed
	problems Problems
	omitted  int        // problems beyond maxProblems
	last     *yaml.Node // of the first of those
}

// place is what is known of a value by where it stands.
type place struct {
	depth int
	// secret tells that the value may be one: it is never quoted.
	secret bool
}

func (d *decoder) fail(n *yaml.Node, err error) {
	if len(d.problems) == maxProblems {
		if d.omitted++; d.omitted == 1 {
			d.last = n
		}
		return
	}
	d.problems = append(d.problems, &Problem{Line: n.Line, Column: n.Column, Path: strings.Join(d.path, ""), Err: err})
}

func (d *decoder) push(step string) { d.path = append(d.path, step) }
func (d *decoder) pop()             { d.path = d.path[:len(d.path)-1] }

var (
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
	defaultsType = reflect.TypeFor[interface{ SetDefaults() }]()
)

// value decodes n into v, which is settable.
func (d *decoder) value(n *yaml.Node, v reflect.Value, p place) {
	if err := foreign(n); err != nil {
		d.fail(n, err)
		return
	}
	if p.depth > maxDepth {
		d.fail(n, fmt.Errorf("is nested deeper than %d levels", maxDepth))
		return
	}
	if n.Kind == yaml.ScalarNode && n.Tag == nullTag {
		d.fail(n, errors.New("has no value: write one, or leave the field out"))
		return
	}
	t := v.Type()
	if v.Kind() == reflect.Pointer {
		fresh := reflect.New(t.Elem())
		setDefaults(fresh.Elem())
		d.value(n, fresh.Elem(), p)
		v.Set(fresh)
		return
	}
	switch {
	case isScalar(t):
		if n.Kind != yaml.ScalarNode {
			d.fail(n, fmt.Errorf("want %s, found %s", wanted(t), describe(n, false)))
		} else if err := setScalar(n, v, p.secret); err != nil {
			d.fail(n, err)
		}
	case t.Kind() == reflect.Struct:
		d.structure(n, v, p)
	case t.Kind() == reflect.Slice:
		d.list(n, v, p)
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		d.mapping(n, v, p)
	default:
		d.fail(n, fmt.Errorf("cannot be configured: there is no way to write a %s", t))
	}
}

var errAlias = errors.New("aliases (*name) are not supported: write the value out")

// foreign refuses what YAML has and a configuration does not need. Aliases make
// a small document large; tags make a value another one than it looks like.
func foreign(n *yaml.Node) error {
	switch {
	case n.Kind == yaml.AliasNode:
		return errAlias
	case n.Anchor != "":
		return errors.New("anchors (&name) are not supported: write the value out where it is needed")
	case n.Style&yaml.TaggedStyle != 0:
		return errors.New("tags (!name) are not supported: write the value alone")
	}
	return nil
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, p place) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, fmt.Errorf("want fields (name: value), found %s", describe(n, p.secret)))
		return
	}
	known := d.types[v.Type()]
	if known == nil {
		known = fieldsOf(v.Type())
		d.types[v.Type()] = known
	}
	var seen keys
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if !d.key(n, i, &seen) {
			continue
		}
		d.push(pathKey(key.Value, len(d.path) == 0))
		if index, ok := known.byName[key.Value]; ok {
			d.value(value, v.FieldByIndex(known.list[index].index), place{p.depth + 1, mayBeSecret(key.Value)})
		} else {
			d.fail(key, unknownField(key.Value, known.names()))
		}
		d.pop()
	}
}

// key reports whether the i-th node of a mapping is a key that is to be
// decoded, and what is wrong with it otherwise.
func (d *decoder) key(n *yaml.Node, i int, seen *keys) bool {
	key := n.Content[i]
	err := foreign(key)
	switch {
	case err != nil:
		d.fail(key, err)
	case key.Kind != yaml.ScalarNode:
		d.fail(key, errors.New("want the name of a field, found "+describe(key, false)))
	case key.Tag == mergeTag:
		d.fail(key, errors.New("merging (<<) is not supported: write the fields out"))
	default:
		first := seen.add(n, i)
		if first == nil {
			return true
		}
		d.push(pathKey(key.Value, len(d.path) == 0))
		d.fail(key, fmt.Errorf("is there twice, first on line %d", first.Line))
		d.pop()
	}
	return false
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, p place) {
	if n.Kind != yaml.SequenceNode {
		d.fail(n, fmt.Errorf("want %s, found %s", wanted(v.Type()), describe(n, p.secret)))
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, element := range n.Content {
		d.push("[" + strconv.Itoa(i) + "]")
		setDefaults(list.Index(i))
		d.value(element, list.Index(i), place{p.depth + 1, p.secret})
		d.pop()
	}
	v.Set(list)
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, p place) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, fmt.Errorf("want fields (name: value), found %s", describe(n, p.secret)))
		return
	}
	t := v.Type()
	m := reflect.MakeMapWithSize(t, len(n.Content)/2)
	var seen keys
	for i := 0; i+1 < len(n.Content); i += 2 {
		if !d.key(n, i, &seen) {
			continue
		}
		name := n.Content[i].Value
		d.push(pathKey(name, len(d.path) == 0))
		element := reflect.New(t.Elem()).Elem()
		setDefaults(element)
		d.value(n.Content[i+1], element, place{p.depth + 1, true}) // such as an environment's
		m.SetMapIndex(reflect.ValueOf(name).Convert(t.Key()), element)
		d.pop()
	}
	v.Set(m)
}

// setDefaults calls v's method of that name, if it has one.
func setDefaults(v reflect.Value) {
	if v.CanAddr() && reflect.PointerTo(v.Type()).Implements(defaultsType) {
		v.Addr().Interface().(interface{ SetDefaults() }).SetDefaults()
	}
}

// keys finds those that a mapping has twice: small mappings, which nearly all
// are, by looking at all that came before.
type keys struct{ lines map[string]*yaml.Node }

const fewKeys = 16

// add returns the key that the i-th node of a mapping repeats, nil if none.
func (k *keys) add(n *yaml.Node, i int) *yaml.Node {
	key := n.Content[i]
	if len(n.Content) > 2*fewKeys {
		if k.lines == nil {
			k.lines = make(map[string]*yaml.Node, len(n.Content)/2)
		}
		if first := k.lines[key.Value]; first != nil {
			return first
		}
		k.lines[key.Value] = key
		return nil
	}
	for j := 0; j < i; j += 2 {
		if n.Content[j].Kind == yaml.ScalarNode && n.Content[j].Value == key.Value {
			return n.Content[j]
		}
	}
	return nil
}

func unknownField(name string, known []string) error {
	if near := Nearest(name, known); near != "" {
		return fmt.Errorf("is no field here: did you mean %s?", near)
	}
	return fmt.Errorf("is no field here: there are %s", strings.Join(known, ", "))
}
