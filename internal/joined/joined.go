// Package joined takes apart what errors.Join has put together.
package joined

import "errors"

// Errors returns the errors that [errors.Join] made err of, at any depth and in
// order. An error with words of its own, such as one of fmt.Errorf with several
// %w, stays whole. For a nil error there are none.
func Errors(err error) []error {
	if err == nil {
		return nil
	}
	list, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	parts := list.Unwrap()
	if again := errors.Join(parts...); again == nil || again.Error() != err.Error() {
		return []error{err}
	}
	var all []error
	for _, part := range parts {
		all = append(all, Errors(part)...)
	}
	return all
}
