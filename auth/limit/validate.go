package limit

import (
	"errors"
	"fmt"
	"math"
)

// FieldError is a problem of a Config.
type FieldError struct {
	Field string // as it is spelled in the configuration
	Err   error
}

func (e *FieldError) Error() string { return fmt.Sprintf("%s: %v", e.Field, e.Err) }

func (e *FieldError) Unwrap() error { return e.Err }

// Validate checks the limits. The error joins a *FieldError for each problem
// there is.
func (c Config) Validate() error {
	var problems []error
	refuse := func(field, format string, args ...any) {
		problems = append(problems, &FieldError{field, fmt.Errorf(format, args...)})
	}
	perSecond := c.RequestsPerSecond
	switch {
	case math.IsNaN(perSecond), math.IsInf(perSecond, 0):
		refuse(requestsPerSecond, "it has to be a number; 0 is no limit")
	case perSecond < 0:
		refuse(requestsPerSecond, "%g is negative; 0 is no limit", perSecond)
	case perSecond > 0 && c.Burst == 0:
		refuse("burst", "with requestsPerSecond of %g it has to be 1 or more: no request could ever be made", perSecond)
	}
	for _, most := range []struct {
		field string
		value int
	}{
		{"burst", c.Burst},
		{"maxInFlight", c.MaxInFlight},
		{"maxWatches", c.MaxWatches},
		{"maxUpgrades", c.MaxUpgrades},
	} {
		if most.value < 0 {
			refuse(most.field, "%d is negative; 0 is no limit", most.value)
		}
	}
	return errors.Join(problems...)
}
