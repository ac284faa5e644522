// Package strict decodes YAML into Go structs and accepts nothing that it does
// not understand: an unknown or repeated field, a value of another type, a null,
// a duration without a unit, an alias. It reports everything that is wrong at
// once, each problem with its line and the path of its field.
//
// A field of a struct is written under the name in its yaml tag; one without a
// tag, or with the tag "-", cannot be written. What is not written keeps the
// value that it had. A type that lists, maps and pointers hold starts with what
// its SetDefaults method sets, if it has one.
//
// The fields of an embedded struct are its holder's. The tag strict:"sibling" moves a field of a struct one level up: it is written
// beside the struct that holds it instead of inside. Thus one Go value can be
// several sections of a file.
package strict
