package strict

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// Problem is one thing that is wrong with a document.
type Problem struct {
	// File is the name of the file, empty if there is none.
	File string

	// Line and Column count from 1. They are 0 for what has no place in the
	// document.
	Line, Column int

	// Path is the field, such as clients[3].match[0].uid; empty for the
	// document as a whole.
	Path string

	// Err says what is wrong. It holds no secret.
	Err error
}

// Error returns FILE:LINE: PATH: what is wrong, without the parts that are not
// known.
func (p *Problem) Error() string {
	var b strings.Builder
	switch {
	case p.File != "" && p.Line > 0:
		b.WriteString(p.File + ":" + strconv.Itoa(p.Line) + ": ")
	case p.File != "":
		b.WriteString(p.File + ": ")
	case p.Line > 0:
		b.WriteString("line " + strconv.Itoa(p.Line) + ": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Err.Error())
	return b.String()
}

// Unwrap returns Err.
func (p *Problem) Unwrap() error { return p.Err }

// Problems are everything that is wrong with a document. As an error it is one
// line for each, as of [errors.Join].
type Problems []*Problem

// Error returns the lines of all problems.
func (p Problems) Error() string { return errors.Join(p.Unwrap()...).Error() }

// Unwrap returns the problems.
func (p Problems) Unwrap() []error {
	all := make([]error, len(p))
	for i, problem := range p {
		all[i] = problem
	}
	return all
}

// Sort orders the problems by their place in the document; those without one
// come first. Problems of one place keep their order.
func (p Problems) Sort() {
	slices.SortStableFunc(p, func(a, b *Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// OrNil returns p as an error, nil if there is no problem.
func (p Problems) OrNil() error {
	if len(p) == 0 {
		return nil
	}
	return p
}
