// Package listen opens the sockets that clients connect to: TCP, and Unix
// sockets on a path or in Linux's abstract namespace.
package listen
