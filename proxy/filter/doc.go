// Package filter decides which requests a single-mode listener lets through.
//
// It is kubectl proxy's request filter: four lists of regular expressions on
// the method, the decoded path and the host name that was asked for, with
// kubectl's order and quirks, because scripts and documents depend on them.
// Beside it stands [CrossSite], the gate that kubectl proxy lacks: it tells a
// browser's request made by another site from one made by the user.
//
// The patterns in common use, the defaults among them, are recognised and
// matched without running a regular expression; anything else goes to package
// regexp unchanged.
package filter
