// Package logging makes the process's logger: lines for people on a terminal,
// JSON elsewhere. It also catches what libraries log by themselves, so that
// nothing else writes to standard error and no verbosity makes client-go print
// request headers.
package logging
