// Tests that run the commands of the documents on a real control plane.
module github.com/kuberelay/kuberelay/test/docs

go 1.26.0

require github.com/kuberelay/kuberelay/test/lab v0.0.0

require golang.org/x/sys v0.49.0 // indirect

replace github.com/kuberelay/kuberelay/test/lab => ../lab
