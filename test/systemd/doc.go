// Package systemd tests the packages and units on hosts with a real systemd:
// systemd-nspawn containers of Debian on a bridge, in a network namespace of
// the test's own. The API servers are the lab's, outside of the hosts, and so is
// the load.
//
// It needs root, debootstrap and systemd-nspawn. Where one is missing it says
// so and runs nothing.
package systemd
