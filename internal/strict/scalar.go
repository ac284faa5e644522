package strict

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// The tags that package yaml gives to nodes that have none.
const (
	nullTag   = "!!null"
	boolTag   = "!!bool"
	intTag    = "!!int"
	floatTag  = "!!float"
	stringTag = "!!str"
	timeTag   = "!!timestamp"
	mergeTag  = "!!merge"
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	timeType     = reflect.TypeFor[time.Time]()
)

// isScalar reports whether values of t are written as one word.
func isScalar(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return true
	}
	return t == timeType || reflect.PointerTo(t).Implements(textType)
}

// wanted says how values of t are written.
func wanted(t reflect.Type) string {
	switch {
	case t == durationType:
		return "a duration such as 30s"
	case t == timeType:
		return "a time such as 2027-01-01T00:00:00Z"
	case reflect.PointerTo(t).Implements(textType):
		return "a string"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list ([a, b], or lines that begin with -)"
	case reflect.Struct, reflect.Map:
		return "fields (name: value)"
	}
	return "a whole number"
}

// setScalar sets v to what n says.
func setScalar(n *yaml.Node, v reflect.Value, secret bool) error {
	t := v.Type()
	switch {
	case t == durationType:
		return setDuration(n, v, secret)
	case t == timeType:
		return setTime(n, v, secret)
	case reflect.PointerTo(t).Implements(textType):
		if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.Value)); err != nil {
			return errors.New(conceal(err.Error(), n.Value, secret))
		}
		return nil
	}
	mismatch := func() error { return fmt.Errorf("want %s, found %s", wanted(t), describe(n, secret)) }
	switch t.Kind() {
	case reflect.String:
		// A date looks like one only to YAML 1.1, and its text is kept.
		if n.Tag != stringTag && n.Tag != timeTag {
			return fmt.Errorf("%w: put it in quotes", mismatch())
		}
		v.SetString(n.Value)
	case reflect.Bool:
		if n.Tag != boolTag || n.Value != "true" && n.Value != "false" {
			return mismatch()
		}
		v.SetBool(n.Value == "true")
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(n.Value, t.Bits())
		if n.Tag != floatTag && n.Tag != intTag || err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return mismatch()
		}
		v.SetFloat(f)
	default:
		return setWhole(n, v, mismatch)
	}
	return nil
}

// setWhole sets a whole number, in decimal: others, such as 010, mean different
// numbers to different readers of YAML.
func setWhole(n *yaml.Node, v reflect.Value, mismatch func() error) error {
	digits := strings.TrimPrefix(n.Value, "-")
	if n.Tag != intTag || digits == "" || strings.Trim(digits, "0123456789") != "" || len(digits) > 1 && digits[0] == '0' {
		return mismatch()
	}
	t := v.Type()
	if v.CanUint() {
		number, err := strconv.ParseUint(n.Value, 10, t.Bits())
		if err != nil {
			return fmt.Errorf("%s is out of range: want 0 to %d", bounded(n.Value), uint64(math.MaxUint64)>>(64-t.Bits()))
		}
		v.SetUint(number)
		return nil
	}
	number, err := strconv.ParseInt(n.Value, 10, t.Bits())
	if err != nil {
		highest := int64(math.MaxInt64) >> (64 - t.Bits())
		return fmt.Errorf("%s is out of range: want %d to %d", bounded(n.Value), -highest-1, highest)
	}
	v.SetInt(number)
	return nil
}

func setDuration(n *yaml.Node, v reflect.Value, secret bool) error {
	if n.Tag == intTag || n.Tag == floatTag {
		return fmt.Errorf("want %s, found %s: add a unit (ms, s, m, h)", wanted(v.Type()), describe(n, secret))
	}
	duration, err := time.ParseDuration(n.Value)
	if n.Tag != stringTag || err != nil {
		return fmt.Errorf("want %s, found %s", wanted(v.Type()), describe(n, secret))
	}
	v.SetInt(int64(duration))
	return nil
}

// rfc3339 is what package time is too lenient to check (golang/go#54580).
var rfc3339 = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[-+]\d\d:\d\d)$`)

func setTime(n *yaml.Node, v reflect.Value, secret bool) error {
	t, err := time.Parse(time.RFC3339, n.Value)
	t = t.UTC()
	if err != nil || !rfc3339.MatchString(n.Value) || n.Tag != stringTag && n.Tag != timeTag || t.Year() < 0 || t.Year() > 9999 {
		return fmt.Errorf("want %s, found %s", wanted(v.Type()), describe(n, secret))
	}
	v.Set(reflect.ValueOf(t))
	return nil
}

// describe says what n is, with its value unless that may be a secret.
func describe(n *yaml.Node, secret bool) string {
	kind := "a value"
	switch n.Kind {
	case yaml.MappingNode:
		return "fields (name: value)"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.Tag {
	case nullTag:
		return "nothing"
	case boolTag:
		kind = "the truth value"
	case intTag, floatTag:
		kind = "the number"
	case stringTag:
		kind = "the string"
	case timeTag:
		kind = "the date"
	}
	if secret || len(n.Value) > maxQuoted {
		return strings.Replace(kind, "the ", "a ", 1)
	}
	if n.Tag == stringTag {
		return kind + " " + strconv.Quote(n.Value)
	}
	return kind + " " + n.Value
}

// maxQuoted is the length of the longest value that is repeated in a message.
// Secrets are longer, mostly.
const maxQuoted = 40

// conceal replaces text, which is about value, where value must not be shown.
func conceal(text, value string, secret bool) string {
	if secret || len(value) > maxQuoted {
		return "has a value that cannot be read"
	}
	return text
}

// bounded shortens what is quoted of the document.
func bounded(s string) string {
	if len(s) <= maxQuoted {
		return s
	}
	cut := maxQuoted
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// mayBeSecret tells by a field's name whether somebody may have written a
// secret there, such as a token where the name of its file belongs.
func mayBeSecret(name string) bool {
	name = strings.ToLower(name)
	for _, word := range []string{"token", "secret", "password", "key", "env", "args"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
