// Package page tests the status page in a browser: headless Chromium, driven
// over a pipe by its DevTools protocol. make page runs the tests, which have the
// build tag page because a machine without Chromium cannot.
package page
