// Package listen opens the sockets that clients connect to: TCP, Unix sockets
// on a path or in Linux's abstract namespace, and those that systemd passes.
package listen
