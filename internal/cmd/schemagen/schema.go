package main

import (
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/strict"
)

// schema is a JSON Schema, in the order in which it is printed.
type schema struct {
	Schema      string             `json:"$schema,omitempty"`
	ID          string             `json:"$id,omitempty"`
	Title       string             `json:"title,omitempty"`
	Ref         string             `json:"$ref,omitempty"`
	Description string             `json:"description,omitempty"`
	Type        any                `json:"type,omitempty"` // a string, or several
	Const       string             `json:"const,omitempty"`
	Enum        []string           `json:"enum,omitempty"`
	Format      string             `json:"format,omitempty"`
	Pattern     string             `json:"pattern,omitempty"`
	Minimum     *json.Number       `json:"minimum,omitempty"`
	Maximum     *json.Number       `json:"maximum,omitempty"`
	Default     any                `json:"default,omitempty"`
	Required    []string           `json:"required,omitempty"`
	MinItems    int                `json:"minItems,omitempty"`
	Items       *schema            `json:"items,omitempty"`
	Properties  map[string]*schema `json:"properties,omitempty"` // printed in the order of names
	// AdditionalProperties is false, or the schema of a map's values.
	AdditionalProperties any                `json:"additionalProperties,omitempty"`
	OneOf                []*schema          `json:"oneOf,omitempty"`
	Defs                 map[string]*schema `json:"$defs,omitempty"`

	order []string // the names of Properties, as the source has them
}

const durationPattern = `^[-+]?(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+$`

// generator collects the schemas of the structs that it meets.
type generator struct {
	comments *comments
	defs     map[string]*schema
}

// generate writes the schema of a config.File, whose source is below root.
func generate(w io.Writer, root string) error {
	top, err := build(root, "")
	if err != nil {
		return err
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(top)
}

// build returns the schema of a config.File, with quote around names of fields
// in the descriptions.
func build(root, quote string) (*schema, error) {
	g := generator{comments: newComments(root, quote), defs: map[string]*schema{}}
	file := config.File{Configuration: config.DefaultConfiguration()}
	top := &schema{
		Schema: "https://json-schema.org/draft/2020-12/schema",
		ID:     "https://github.com/kuberelay/kuberelay/config/schema.json",
		Title:  "kuberelay configuration, " + config.APIVersion,
	}
	if err := g.structure(top, reflect.ValueOf(file)); err != nil {
		return nil, err
	}
	top.Defs = g.defs
	return top, nil
}

// structure fills in the schema of a struct, of which v holds the defaults.
func (g *generator) structure(s *schema, v reflect.Value) error {
	t := v.Type()
	s.Type, s.AdditionalProperties = "object", false
	if s.Properties == nil {
		s.Properties = map[string]*schema{}
	}
	if err := g.comments.load(t); err != nil {
		return err
	}
	s.Required = append(s.Required, required[t]...)
	s.OneOf = oneOf(t)
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			if err := g.structure(s, v.Field(i)); err != nil {
				return err
			}
			continue
		}
		if strict.Name(f) == "" || strict.Sibling(f) {
			continue
		}
		if err := g.property(s, t, f, v.Field(i)); err != nil {
			return err
		}
		if f.Type.Kind() != reflect.Struct {
			continue
		}
		for j := range f.Type.NumField() {
			if inner := f.Type.Field(j); strict.Sibling(inner) {
				if err := g.comments.load(f.Type); err != nil {
					return err
				}
				if err := g.property(s, f.Type, inner, v.Field(i).Field(j)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// property adds the field f of a struct t to s.
func (g *generator) property(s *schema, t reflect.Type, f reflect.StructField, v reflect.Value) error {
	p, err := g.value(v)
	if err != nil {
		return fmt.Errorf("%s.%s: %w", t, f.Name, err)
	}
	name := strict.Name(f)
	p.Description = g.comments.field(t, f)
	if values := enums[t.String()+"."+name]; values != nil {
		p.Enum = values
	}
	if constant := constants[name]; constant != "" && t == reflect.TypeFor[config.File]() {
		p.Const = constant
	}
	if atLeastOne[t.String()+"."+name] {
		p.MinItems = 1
	}
	s.Properties[name] = p
	s.order = append(s.order, name)
	return nil
}

// value returns the schema of a field whose default is v.
func (g *generator) value(v reflect.Value) (*schema, error) {
	t := v.Type()
	s := &schema{}
	switch {
	case t == reflect.TypeFor[time.Duration]():
		s.Type, s.Pattern = "string", durationPattern
		if d := v.Interface().(time.Duration); d != 0 {
			s.Default = plain(d)
		}
		return s, nil
	case t == reflect.TypeFor[time.Time]():
		return &schema{Type: "string", Format: "date-time"}, nil
	case t == reflect.TypeFor[config.SocketMode]():
		// YAML takes 0660 without quotes for an octal number.
		return &schema{Type: []string{"string", "integer"}, Pattern: "^0*[0-7]{1,3}$"}, nil
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return nil, fmt.Errorf("it is not known how a %s is written", t)
	}
	switch t.Kind() {
	case reflect.Pointer:
		return g.value(defaulted(t.Elem()))
	case reflect.Struct:
		return g.reference(v)
	case reflect.Slice:
		items, err := g.value(defaulted(t.Elem()))
		s.Type, s.Items = "array", items
		if v.Len() > 0 {
			s.Default = v.Interface()
		}
		return s, err
	case reflect.Map:
		values, err := g.value(defaulted(t.Elem()))
		return &schema{Type: "object", AdditionalProperties: values}, err
	case reflect.String:
		s.Type, s.Enum = "string", enums[t.String()]
	case reflect.Bool:
		s.Type = "boolean"
	case reflect.Float64:
		s.Type = "number"
	case reflect.Int, reflect.Int64:
		s.Type = "integer"
	case reflect.Uint32:
		lowest, highest := json.Number("0"), json.Number("4294967295")
		s.Type, s.Minimum, s.Maximum = "integer", &lowest, &highest
	default:
		return nil, fmt.Errorf("it is not known how a %s is written", t)
	}
	if !v.IsZero() {
		s.Default = v.Interface()
	}
	return s, nil
}

// reference returns a reference to the schema of a struct, which it adds to the
// definitions. Its defaults are those of the first of its kind that is met.
func (g *generator) reference(v reflect.Value) (*schema, error) {
	t := v.Type()
	name := t.String()
	if g.defs[name] == nil {
		s := &schema{}
		g.defs[name] = s
		if err := g.structure(s, v); err != nil {
			return nil, err
		}
		s.Description = g.comments.structure(t)
	}
	return &schema{Ref: "#/$defs/" + name}, nil
}

// defaulted returns a new value of t, with its defaults if it has any.
func defaulted(t reflect.Type) reflect.Value {
	v := reflect.New(t)
	if d, ok := reflect.TypeAssert[interface{ SetDefaults() }](v); ok {
		d.SetDefaults()
	}
	return v.Elem()
}

// plain writes a duration as people do: 2m, not 2m0s.
func plain(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
