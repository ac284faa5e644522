// Package notify tells the service manager (systemd) how the process is, as
// sd_notify(3) describes it: that it serves, reloads or stops, one sentence of
// how it is, and, as long as the data path answers, that it need not be killed.
package notify
