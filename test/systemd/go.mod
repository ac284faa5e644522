// Tests on hosts with a real systemd. Run them as root with: make systemd-test
module github.com/kuberelay/kuberelay/test/systemd

go 1.26.0

require (
	github.com/kuberelay/kuberelay/test/lab v0.0.0
	golang.org/x/sys v0.49.0
)

replace github.com/kuberelay/kuberelay/test/lab => ../lab
